"""Speed of this ViT beside timm, torchvision, vit-pytorch and Hugging Face transformers, on the machine it is run on.

    python nbs/results/speed.py run [--rounds 5] [--out nbs/results/speed.json] [--only step,inference]

Every measurement is a process of its own; contestants take turns, round by round, so that a slow minute of the machine
hits all of them. Same architecture (class token, 65 tokens, 1.6 million parameters), batch, data, optimizer and threads;
each in the faster number format, as measured on this machine, and in float32.
The notebook beside this file reads the figures and draws them.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

LIBRARIES = ("ours", "timm", "torchvision", "vit_pytorch", "transformers")
KEEP = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**40)}  # what `keep_buffers` asks for, as variables for everybody
SHAPE = dict(image_size=32, patch_size=4, embed_dim=128, depth=8, num_heads=4, num_classes=10)


def build(library, image_size=32, patch_size=4, embed_dim=128, depth=8, num_heads=4, num_classes=10, pool="cls"):
    "The same ViT, as each library makes it; no dropout anywhere. `pool` is for ours alone."
    if library == "ours":
        from vit_from_scratch.vit import ViT

        return ViT(image_size, patch_size, num_classes=num_classes, embed_dim=embed_dim, depth=depth, num_heads=num_heads, pool=pool)
    if library == "timm":
        from timm.models.vision_transformer import VisionTransformer

        return VisionTransformer(image_size, patch_size, num_classes=num_classes, embed_dim=embed_dim, depth=depth, num_heads=num_heads)
    if library == "torchvision":
        from torchvision.models import VisionTransformer

        return VisionTransformer(image_size, patch_size, depth, num_heads, embed_dim, 4 * embed_dim, num_classes=num_classes)
    if library == "vit_pytorch":
        from vit_pytorch import ViT

        return ViT(image_size=image_size, patch_size=patch_size, num_classes=num_classes, dim=embed_dim, depth=depth, heads=num_heads,
                   dim_head=embed_dim // num_heads, mlp_dim=4 * embed_dim)  # fmt: skip
    from transformers import ViTConfig, ViTForImageClassification

    size = dict(image_size=image_size, patch_size=patch_size, hidden_size=embed_dim, num_hidden_layers=depth)
    config = ViTConfig(**size, num_attention_heads=num_heads, intermediate_size=4 * embed_dim, hidden_dropout_prob=0.0,
                       attention_probs_dropout_prob=0.0, num_labels=num_classes)  # fmt: skip
    return ViTForImageClassification(config)


def logits_of(answer):
    return getattr(answer, "logits", answer)


def start(library, device, precision, **shape):
    "Model, a batch of noise, and the context of its precision."
    import torch

    torch.manual_seed(0)
    model = build(library, **(SHAPE | shape)).to(device)
    return model, torch.autocast(device.type, getattr(torch, precision), enabled=precision != "float32")


def clock(function, device, warm, count):
    "Seconds of each call, after some that do not count."
    import torch

    times = []
    for i in range(warm + count):
        began = time.perf_counter()
        function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        if i >= warm:
            times.append(time.perf_counter() - began)
    return times


def peak_memory(device):
    "Bytes: of the process on a CPU, of the allocator on a GPU."
    import torch

    return torch.cuda.max_memory_allocated() if device.type == "cuda" else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def make_optimizers(kind, model):
    "AdamW for all, or Muon (ours, or PyTorch's) for the blocks' matrices beside it."
    import torch

    from vit_from_scratch.train import Muon

    inner = [p for name, p in model.named_parameters() if kind != "adamw" and name.startswith("blocks.") and p.ndim == 2]
    rest = [p for p in model.parameters() if not any(p is q for q in inner)]
    optimizers = [torch.optim.AdamW(rest, lr=1e-3, fused=True)]
    if inner:
        optimizers.append((Muon if kind == "our muon" else torch.optim.Muon)(inner, lr=1e-3))
    return optimizers


def measure_step(library, device, precision, batch, count, attention=None, compiled=False, optimizer="adamw", unread=False, **shape):
    "A training step: forward, cross-entropy, backward, update."
    import torch

    model, context = start(library, device, precision, **shape)
    side = {**SHAPE, **shape}["image_size"]
    images, labels = torch.randn(batch, 3, side, side, device=device), torch.randint(0, 10, (batch,), device=device)
    if attention is not None:
        for block in model.blocks:
            block.attn.fused = attention == "fused"
    forward = torch.compile(model) if compiled else model
    if unread:  # every token finished, though the head reads one
        forward = lambda images: model.head(model.encode(images)[:, 0])  # noqa: E731
    optimizers = make_optimizers(optimizer, model)
    before = peak_memory(device)

    def step():
        with context:
            loss = torch.nn.functional.cross_entropy(logits_of(forward(images)).float(), labels)
        loss.backward()
        for each in optimizers:
            each.step()
            each.zero_grad()

    times = clock(step, device, 2, count)
    return {"images_per_second": batch / statistics.median(times), "peak_bytes": peak_memory(device) - before,
            "parameters": sum(p.numel() for p in model.parameters())}  # fmt: skip


def measure_plain_loop(library, device, precision, batch, count):
    "What a user of the library writes first: AdamW as it comes, the library's precision, nothing tuned."
    import torch

    model, context = start(library, device, precision)
    images, labels = torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)

    def step():
        optimizer.zero_grad()
        with context:
            loss = torch.nn.functional.cross_entropy(logits_of(model(images.to(device))).float(), labels.to(device))
        loss.backward()
        optimizer.step()

    return {"images_per_second": batch / statistics.median(clock(step, device, 2, count))}


def measure_fit(library, device, precision, batch, count):
    "`fit` on images in memory without augmentation, as `vit train` runs it: speed of its second epoch."
    import torch

    from vit_from_scratch.data import ImageSet
    from vit_from_scratch.train import fit

    images = torch.randint(0, 256, (batch * count, 3, 32, 32), dtype=torch.uint8)
    data = ImageSet(images, torch.arange(len(images)) % 10, tuple("abcdefghij"), (0.5,) * 3, (0.25,) * 3)
    settings = dict(epochs=2, batch_size=batch, lr=1e-3, precision=precision, device=device.type, flip=False)
    history = fit(build("ours"), data, progress=False, **settings)
    return {"images_per_second": history.rows[-1]["images_per_second"]}


def measure_inference(library, device, precision, batch, count, record=False):
    "Logits of a batch, without gradients; `record`: with every attention map kept."
    import torch

    model, context = start(library, device, precision)
    model.eval()
    images = torch.randn(batch, 3, 32, 32, device=device)

    def infer():
        with torch.no_grad(), context:
            if not record:
                return logits_of(model(images))
            from vit_from_scratch.interpret import record_attention

            with record_attention(model) as seen:
                model(images)
            return seen

    return {"images_per_second": batch / statistics.median(clock(infer, device, 2, count))}


def measure_augmentation(library, device, batch, count):
    "RandAugment (2 operations, magnitude 9), crop with padding 4 and flip: whole batches of ours, or torchvision image by image."
    import torch

    torch.manual_seed(0)
    images = torch.randint(0, 256, (batch, 3, 32, 32), dtype=torch.uint8)
    if library == "ours":
        from vit_from_scratch.data import Augment

        change = Augment(crop_padding=4, flip=True, randaugment_ops=2, randaugment_magnitude=9)
        images, labels, generator = images.to(device), torch.zeros(batch, dtype=torch.long, device=device), torch.Generator(device).manual_seed(0)
        times = clock(lambda: change(images, labels, generator, 10), device, 2, count)
    else:
        change = per_image_transforms()
        pictures = [to_picture(image) for image in images]
        times = clock(lambda: torch.stack([change(p) for p in pictures]), device, 1, count)
    return {"images_per_second": batch / statistics.median(times)}


def to_picture(image):
    from torchvision.transforms.functional import to_pil_image

    return to_pil_image(image)


def per_image_transforms():
    from torchvision.transforms import v2

    return v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), v2.RandAugment(2, 9), v2.PILToTensor()])


def measure_epoch(library, device, precision, batch, images):
    "A whole epoch with that augmentation: `fit`, or the same model behind a DataLoader with two workers; the second epoch counts."
    import torch
    from torch.utils.data import DataLoader

    pixels, labels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8), torch.arange(images) % 10
    if library == "ours":
        from vit_from_scratch.data import ImageSet
        from vit_from_scratch.train import fit

        data = ImageSet(pixels, labels, tuple("abcdefghij"), (0.5,) * 3, (0.25,) * 3)
        settings = dict(epochs=2, batch_size=batch, lr=1e-3, precision=precision, device=device.type)
        history = fit(build("ours"), data, progress=False, crop_padding=4, flip=True, randaugment_ops=2, randaugment_magnitude=9, **settings)
        return {"images_per_second": images / history.rows[-1]["seconds"]}
    change = per_image_transforms()

    class Pictures(torch.utils.data.Dataset):
        kept = [to_picture(image) for image in pixels]

        def __len__(self):
            return images

        def __getitem__(self, i):
            return (change(self.kept[i]).float() / 255 - 0.5) / 0.25, int(labels[i])

    model, context = start("ours", device, precision)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    loader = DataLoader(Pictures(), batch, shuffle=True, num_workers=2)

    def epoch():
        for x, y in loader:
            with context:
                loss = torch.nn.functional.cross_entropy(model(x.to(device)).float(), y.to(device))
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()

    return {"images_per_second": images / clock(epoch, device, 1, 1)[0]}


def measure_import(library, device):
    "Seconds to import the library and build the ViT, with PyTorch imported before."
    began = time.perf_counter()
    build(library)
    return {"seconds": time.perf_counter() - began}


def measure_learning(library, device, seed, precision, attention):
    "Validation accuracy of a short CIFAR-10 run, and its speed."
    from vit_from_scratch.config import preset, with_settings
    from vit_from_scratch.data import load_data
    from vit_from_scratch.train import fit, make_model

    data = load_data("cifar10", "data/cifar10", limit=3000)
    config = with_settings(preset("cifar10"), muon_lr=0.006, schedule="cosine", mix_probability=0.3, valid_fraction=0.1,  # as when it was measured
                           epochs=4, warmup_epochs=0.5, small_sizes=(16,), small_share=1.0, batch_size=128, seed=seed,
                           precision=precision, device=device.type)  # fmt: skip
    model = make_model(config, data)
    for block in model.blocks:
        block.attn.fused = {"plain": False, "chosen": None}[attention]
    history = fit(model, data, config=config, progress=False)
    return {"accuracy": history.best["valid_accuracy"], "images_per_second": statistics.median(row["images_per_second"] for row in history.rows)}


def measure_peak(library, device, precision):
    "Multiply-adds of a large matrix product per second: what the machine can do at most."
    import torch

    n = 8192 if device.type == "cuda" else 2048 if precision == "float32" else 1024
    a = torch.randn(n, n, device=device, dtype=getattr(torch, precision))
    return {"multiply_adds_per_second": n**3 / min(clock(lambda: a @ a, device, 2, 5))}


TASKS = {
    "step": measure_step, "plain_loop": measure_plain_loop, "fit": measure_fit, "inference": measure_inference,
    "augmentation": measure_augmentation, "epoch": measure_epoch, "import": measure_import, "peak": measure_peak,
    "learning": measure_learning,
}  # fmt: skip


def plan(device, fast, batch):
    "Groups of contestants that take turns: (group, contestant, task, library, arguments, settings of the allocator)."
    step, tuned = dict(batch=batch, count=4), KEEP
    jobs = [("step float32", lib, "step", lib, dict(precision="float32", **step), tuned) for lib in LIBRARIES]
    if fast != "float32":
        jobs += [(f"step {fast}", lib, "step", lib, dict(precision=fast, **step), tuned) for lib in LIBRARIES]
    jobs += [("as installed", "vit train", "fit", "ours", dict(precision=fast, batch=batch, count=5), {})]
    jobs += [("as installed", lib, "plain_loop", lib, dict(precision=fast, **step), {}) for lib in LIBRARIES[1:]]
    jobs += [("inference", lib, "inference", lib, dict(precision=fast, **step), tuned) for lib in LIBRARIES]
    jobs += [("inference", "ours, recorded", "inference", "ours", dict(precision=fast, record=True, **step), tuned)]
    jobs += [("augmentation", lib, "augmentation", lib, dict(batch=512, count=5), {}) for lib in ("ours", "torchvision")]
    jobs += [("epoch", name, "epoch", lib, dict(precision=fast, batch=batch, images=1280), {}) for name, lib in (("vit train", "ours"), ("DataLoader", "torchvision"))]
    jobs += [("import", lib, "import", lib, {}, {}) for lib in LIBRARIES]
    jobs += [("peak", precision, "peak", "ours", dict(precision=precision), tuned) for precision in ("float32", "bfloat16")]
    jobs += [("allocator", "kept", "step", "ours", dict(precision=fast, **step), KEEP), ("allocator", "as it comes", "step", "ours", dict(precision=fast, **step), {})]
    jobs += [("attention", kind, "step", "ours", dict(precision=fast, attention=kind, **step), KEEP) for kind in ("fused", "plain")]
    jobs += [("finish", name, "step", "ours", dict(precision=fast, unread=u, **step), KEEP) for name, u in (("all tokens", True), ("class token", False))]
    jobs += [("compile", name, "step", "ours", dict(precision=fast, compiled=c, **step), KEEP) for name, c in (("eager", False), ("compiled", True))]
    jobs += [("optimizer", kind, "step", "ours", dict(precision=fast, optimizer=kind, **step | dict(count=3)), KEEP) for kind in ("adamw", "our muon", "torch's muon")]
    jobs += [("readout", pool, "step", "ours", dict(precision=fast, pool=pool, **step), KEEP) for pool in ("cls", "avg")]
    jobs += [("batch", str(b), "step", "ours", dict(precision=fast, batch=b, count=max(4, 512 // b)), KEEP) for b in (32, 64, 128, 256, 512)]
    jobs += [("learning", f"{name}, seed {seed}", "learning", "ours", dict(seed=seed, precision=p, attention=a), {})
             for seed in range(3) for name, p, a in (("float32, plain attention", "float32", "plain"), ("chosen", "auto", "chosen"))]  # fmt: skip
    sides = ((32, 32), (64, 16), (96, 8), (160, 4), (224, 2))
    jobs += [("pixels", str(s), "step", "ours", dict(precision=fast, batch=b, count=3, image_size=s), KEEP) for s, b in sides]
    jobs += [("depth", str(d), "step", "ours", dict(precision=fast, batch=64, count=4, depth=d), KEEP) for d in (2, 4, 8, 12, 16)]
    return jobs


def describe_machine(device):
    from importlib.metadata import PackageNotFoundError, version

    import torch

    from vit_from_scratch.speedrun import describe_hardware

    packages = {}
    for name in ("torch", "torchvision", "timm", "vit-pytorch", "transformers"):
        with suppress(PackageNotFoundError):
            packages[name] = version(name)
    return {"date": time.strftime("%Y-%m-%d"), **describe_hardware(torch.device(device)), "packages": packages}


def fast_precision(device):
    import torch

    from vit_from_scratch.train import pick_precision

    return str(pick_precision("auto", torch.device(device))).removeprefix("torch.")


def run(rounds, out, only, device, batch):
    "All groups, contestants in turn, `rounds` times; figures are written after every round."
    fast = fast_precision(device)
    found = {"machine": describe_machine(device), "fast": fast, "batch": batch, "results": []}

    def wanted(group):
        return not only or group in only or group.split()[0] in only

    if out.exists() and only:
        before = json.loads(out.read_text())
        if (before["machine"]["cpu"], before["machine"]["device"], before["batch"]) != (found["machine"]["cpu"], device, batch):
            raise SystemExit(f"{out} holds figures of another machine or batch; choose another --out, or measure everything anew without --only")
        found["results"] = [r for r in before["results"] if not wanted(r["group"])]
    jobs = [job for job in plan(device, fast, batch) if wanted(job[0])]
    for group in dict.fromkeys(job[0] for job in jobs):
        for number in range(rounds):
            for _, name, task, library, arguments, environment in (job for job in jobs if job[0] == group):
                words = [sys.executable, __file__, "one", task, library, device, json.dumps(arguments)]
                done = subprocess.run(words, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
                if done.returncode:
                    print(f"{group} / {name}: failed: {(done.stderr.strip().splitlines() or ['?'])[-1]}", flush=True)
                    continue
                figures = json.loads(done.stdout.splitlines()[-1])
                found["results"].append({"group": group, "contestant": name, "round": number, **arguments, **figures})
                print(f"{group:16s} {name:16s} round {number + 1}: " + ", ".join(f"{k} {v:,.4g}" for k, v in figures.items()), flush=True)
            out.write_text(json.dumps(found, indent=1) + "\n")


def one(task, library, device, arguments):
    import torch

    print(json.dumps(TASKS[task](library, device=torch.device(device), **json.loads(arguments))))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    all_of_it = commands.add_parser("run", help="measure everything")
    all_of_it.add_argument("--rounds", type=int, default=5)
    all_of_it.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    all_of_it.add_argument("--only", default="", help="groups to measure anew, divided by commas")
    all_of_it.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    all_of_it.add_argument("--batch", type=int, default=256)
    single = commands.add_parser("one", help="one measurement, for `run`")
    for name in ("task", "library", "device", "arguments"):
        single.add_argument(name)
    chosen = parser.parse_args()
    if chosen.command == "one":
        one(chosen.task, chosen.library, chosen.device, chosen.arguments)
    else:
        run(chosen.rounds, chosen.out, set(filter(None, chosen.only.split(","))), chosen.device, chosen.batch)
