"""Climb every rung of the ladder with several seeds and write the accuracies into the package.

    python nbs/results/ladder.py

360 steps on one thread for each rung and seed; the file is written after each, and what it holds is not climbed again.
Beside the ladder stand two controls ("aside"), trained the same way: attention that is told no positions, and the model
with the class token, tested on the very images that it learned from.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import torch

from vit_from_scratch.ladder import RUNGS, TRAININGS, Rung, Track, climb, climb_rung, ladder_data

FILE = Path(__file__).parents[2] / "vit_from_scratch" / "recorded" / "ladder.json"


def attention_without_positions(seed):
    torch.manual_seed(seed)
    return climb(Rung(Track(num_heads=1), positions=False), seed)


def accuracy_on_own_images(seed):
    model = RUNGS["+ class token"](seed)
    climb(model, seed)
    images, labels, *_ = ladder_data()
    with torch.no_grad():
        answers = torch.cat([model(part).argmax(dim=1) for part in images.split(500)])
    return (answers == labels).float().mean().item()


ASIDE = {"attention, no positions": attention_without_positions, "+ class token, own images": accuracy_on_own_images}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = json.loads(FILE.read_text()) if FILE.exists() else {"accuracy": {}, "processor_seconds": {}}
    found |= {"command": "python nbs/results/ladder.py", "torch": torch.__version__, "machine": platform.machine(), "date": time.strftime("%Y-%m-%d")}
    FILE.parent.mkdir(exist_ok=True)
    for seed in range(given.seeds):
        for name in (*RUNGS, *TRAININGS):
            done = found["accuracy"].setdefault(name, [])
            if len(done) > seed:
                continue
            start = time.process_time()
            done.append(round(climb_rung(name, seed), 4))
            found["processor_seconds"].setdefault(name, round(time.process_time() - start, 1))
            print(f"seed {seed} {name:<16} {done[-1]:.4f}", flush=True)
            FILE.write_text(json.dumps(found, indent=1) + "\n")
        for name, measure in ASIDE.items():
            done = found.setdefault("aside", {}).setdefault(name, [])
            if len(done) > seed:
                continue
            done.append(round(measure(seed), 4))
            print(f"seed {seed} beside it: {name} {done[-1]:.4f}", flush=True)
            FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
