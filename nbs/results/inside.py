"""What the CIFAR-10 models need, measured on test images: deletion, patching, head ablation.

    python nbs/results/inside.py cifar10 --root data/cifar10

The images are drawn at random from the test part (seed 0); for patching, pairs of them that the
model answers rightly and differently, in the order drawn. Nothing is chosen by its result.
Lesson 08 reads the record from the package.
"""

import argparse
import datetime
import json
import re
from pathlib import Path

import torch

from vit_from_scratch import interpret
from vit_from_scratch.data import load_data
from vit_from_scratch.vit import ViT
from vit_from_scratch.weights import load_model

RECORD = Path(__file__).parents[2] / "vit_from_scratch" / "recorded" / "inside.json"


def rounded(values):
    "A tensor as nested lists of four digits."
    if isinstance(values, list):
        return [rounded(value) for value in values]
    return round(values, 4) if isinstance(values, float) else values


def find_orders(model, images, seed):
    "Maps `(B, rows, columns)` by name: the highest patch goes first."
    torch.manual_seed(seed)
    twin = ViT(**model.arguments).eval()
    weights = interpret.attention_maps(model, images)
    return {
        "relevance": interpret.relevance_map(model, images),
        "rollout": interpret.cls_map(interpret.rollout(weights), model),
        "last block's attention": interpret.cls_map(weights[-1].mean(1), model),
        "an untrained twin's relevance": interpret.relevance_map(twin, images),
        "random": torch.rand(len(images), *model.grid_size),
    }


def measure_deletion(model, images, batch_size=50):
    "Curves and areas of deletion and insertion for every order."
    found = {}
    for number, part in enumerate(images.split(batch_size)):
        for name, maps in find_orders(model, part, number).items():
            for key, insert in (("deletion", False), ("insertion", True)):
                curve = interpret.deletion_curve(model, part, maps, insert=insert)
                found.setdefault(name, {}).setdefault(key, []).append(curve)
    curves = {n: {k: torch.cat(c, 1) for k, c in both.items()} for n, both in found.items()}
    table, chance = {}, curves["random"]
    for name, both in curves.items():
        table[name] = {}
        for key, curve in both.items():
            area, sign = interpret.curve_area(curve), 1 if key == "insertion" else -1
            better = sign * (area - interpret.curve_area(chance[key]))
            table[name][key] = {
                "curve": rounded(curve.mean(1).tolist()),
                "area": rounded(area.mean().item()),
                "spread": rounded(area.std().item()),
                "better than random": rounded((better > 0).float().mean().item()),
            }
    return table


def find_pairs(model, images, labels, count):
    "Pairs of positions: both answered rightly, with different answers, each image used once."
    with torch.no_grad():
        right = torch.cat([model(part).argmax(1) for part in images.split(100)]) == labels
    found, left = [], right.nonzero()[:, 0].tolist()
    while len(left) > 1 and len(found) < count:
        first = left.pop(0)
        other = next((i for i in left if labels[i] != labels[first]), None)
        if other is not None:
            left.remove(other)
            found.append((first, other))
    return found


def measure_patching(model, images, labels, count):
    "Where one picture's activations turn another's answer."
    pairs, effects, ranked, blind = find_pairs(model, images, labels, count), [], [], []
    for first, second in pairs:
        pair = images[first], images[second]
        effects.append(interpret.swap_effects(model, *pair))
        ranked.append(interpret.tokens_to_turn(model, *pair, effects[-1]))
        blind.append(interpret.tokens_to_turn(model, *pair, torch.rand_like(effects[-1])))
    effects, prefix = torch.stack(effects), model.num_prefix_tokens
    ranked, blind = torch.stack(ranked), torch.stack(blind)
    strongest = effects.argmax(2)
    return {
        "pairs": len(pairs),
        "classes": [[int(labels[i]) for i in pair] for pair in pairs],
        "class token's effect": rounded(effects[..., 0].mean(0).tolist()) if prefix else None,
        "strongest patch's effect": rounded(effects[..., prefix:].amax(2).mean(0).tolist()),
        "class token alone turns": None if not prefix else rounded(
            ((ranked == 1) & (strongest == 0)).float().mean(0).tolist()
        ),
        "one token alone turns": rounded((ranked == 1).float().mean(0).tolist()),
        "first depth one token turns": [
            next((d for d, n in enumerate(row) if n == 1), None) for row in ranked.tolist()
        ],
        "that token": [
            next((int(t) for n, t in zip(row, tokens, strict=True) if n == 1), None)
            for row, tokens in zip(ranked.tolist(), strongest.tolist(), strict=True)
        ],
        "tokens needed, strongest first": ranked.tolist(),
        "tokens needed, at random": blind.tolist(),
    }  # fmt: skip


def measure_heads(model, images, labels):
    "Accuracy with all heads, with each head off, with each block's heads off."
    def accuracy(off):
        with torch.no_grad(), interpret.ablate_heads(model, off):
            said = torch.cat([model(part).argmax(1) for part in images.split(100)])
        return round((said == labels).float().mean().item(), 4)

    blocks, heads = range(model.arguments["depth"]), range(model.arguments["num_heads"])
    return {
        "all": accuracy([]),
        "one off": [[accuracy([(block, head)]) for head in heads] for block in blocks],
        "block off": [accuracy([(block, head) for head in heads]) for block in blocks],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="name of a shipped model")
    parser.add_argument("--file", help="its weights, if they are not shipped yet")
    parser.add_argument("--root", default="data/cifar10")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=40)
    given = parser.parse_args()
    torch.manual_seed(0)
    model = load_model(given.file) if given.file else ViT.from_shipped(given.model)
    data = load_data("cifar10", given.root, limit=given.images, mean=model.mean, std=model.std)
    images, labels = data.test.normalize(data.test.images), data.test.labels
    record = {
        "command": f"python nbs/results/inside.py {given.model} --root data/cifar10 "
        f"--images {given.images} --pairs {given.pairs}",
        "date": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "pool": model.pool,
        "images": len(images),
    }
    for key, measure in (
        ("patching", lambda: measure_patching(model, images, labels, given.pairs)),
        ("heads", lambda: measure_heads(model, images, labels)),
        ("deletion", lambda: measure_deletion(model, images)),
    ):
        record[key] = measure()
        everything = json.loads(RECORD.read_text()) if RECORD.exists() else {}
        RECORD.parent.mkdir(exist_ok=True)
        text = json.dumps(everything | {given.model: record}, indent=1)
        short = re.sub(r"\[[^\[\]{}]*\]", lambda found: " ".join(found[0].split()), text)
        RECORD.write_text(short + "\n")  # a row of numbers on one line
        print(key, "done", flush=True)


if __name__ == "__main__":
    main()
