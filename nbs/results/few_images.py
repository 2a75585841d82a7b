"""Let a CNN and a ViT of equal size learn from 100, 1,000 and 10,000 images, and write the accuracies into the package.

    python nbs/results/few_images.py

400 steps on one thread for each; the ViT also with a wandering window and a mirror. The file is written after each training,
and what it holds is not trained again.
"""

import argparse
import json
import platform
import time
from pathlib import Path

import torch

from vit_from_scratch.augment import Augment
from vit_from_scratch.ladder import RUNGS, learn_from, small_cnn

FILE = Path(__file__).parents[2] / "vit_from_scratch" / "recorded" / "few_images.json"
RECIPES = {
    "CNN": (small_cnn, None),
    "ViT": (RUNGS["+ MLP"], None),
    "ViT, augmented": (RUNGS["+ MLP"], Augment(crop_padding=4, flip=True)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = json.loads(FILE.read_text()) if FILE.exists() else {"accuracy": {}}
    found |= {"command": "python nbs/results/few_images.py", "torch": torch.__version__, "machine": platform.machine(), "date": time.strftime("%Y-%m-%d")}
    FILE.parent.mkdir(exist_ok=True)
    for seed in range(given.seeds):
        for name, (build, augment) in RECIPES.items():
            for size in (100, 1000, 10_000):
                done = found["accuracy"].setdefault(name, {}).setdefault(str(size), [])
                if len(done) > seed:
                    continue
                done.append(round(learn_from(size, build(seed), seed, augment), 4))
                print(f"seed {seed} {name:<16} {size:>6} images {done[-1]:.4f}", flush=True)
                FILE.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
