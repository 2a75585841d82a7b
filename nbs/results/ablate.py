"""What did each part of the CIFAR-10 recipe of run 5 do? Short runs of equal length, one thing changed at a time, two seeds each.

    python nbs/results/ablate.py --root data/cifar10

Every run sees the training images twice, shrunk to 16 × 16 pixels, and is measured on the validation images, shrunk alike;
the test part is never opened. Each run has one thread, and as many run side by side as `--jobs` says. Results are added to
nbs/results/ablation.json one by one, so a second call does only what is missing.
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import torch

from vit_from_scratch.config import preset, with_overrides
from vit_from_scratch.data import ImageData, load_data
from vit_from_scratch.run import make_model
from vit_from_scratch.run import run as train

FILE = Path(__file__).parent / "ablation.json"
BUDGET = [
    "model.image_size=16", "transform.crop_padding=2", "training.small_sizes=none", "training.epochs=2", "lr_scheduler.warmup_epochs=0.3",
    "training.device=cpu", "training.precision=float32",
]
RUN_5 = [  # where the preset of today differs from the recipe that was taken apart
    "optimizer.muon_lr=0.006", "lr_scheduler.schedule=cosine", "training.batch_size=256", "transform.mix_probability=0.3",
    "dataset.valid_fraction=0.1",
]  # fmt: skip
BASE = "the recipe of run 5"
VARIANTS = {
    BASE: [],
    "AdamW instead of Muon": ["optimizer.algorithm=adamw"],
    "Muon's rate doubled": ["optimizer.muon_lr=0.012"],
    "half the batch": ["training.batch_size=128"],
    "linear decay": ["lr_scheduler.schedule=linear"],
    "fixed sin-cos positions": ["model.pos_embed=sincos"],
    "mean of the patches, no class token": ["model.pool=avg"],
    "QK-norm": ["model.qk_norm=true"],
    "patch embedding drawn four times wider": ["model.patch_init_std=0.08"],
    "rate, batch, decay and patch embedding together": [
        "optimizer.muon_lr=0.012", "training.batch_size=128", "lr_scheduler.schedule=linear", "model.patch_init_std=0.08",
    ],
}


def open_parts(root):
    "Once in every process: the training and validation images, on one thread."
    global parts
    torch.set_num_threads(1)
    everything = load_data("cifar10", root=root, image_size=16)
    parts = ImageData("cifar10", everything.train, everything.valid, None)


def run(variant, seed):
    "One short run; its figures on the validation images."
    config = with_overrides(preset("cifar10"), [*BUDGET, *RUN_5, *VARIANTS[variant], f"training.seed={seed}"])
    model = make_model(config, parts)
    began = time.process_time()
    row = train(config, data=parts, model=model, progress=False).rows[-1]
    return {
        "variant": variant, "seed": seed, "parameters": sum(p.numel() for p in model.parameters()), "valid_accuracy": row["valid_accuracy"],
        "valid_loss": row["valid_loss"], "train_loss": row["train_loss"], "cpu_seconds": time.process_time() - began, "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="folder of CIFAR-10")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    given = parser.parse_args()
    done = json.loads(FILE.read_text()) if FILE.exists() else []
    known = {(row["variant"], row["seed"]) for row in done}
    wanted = [(variant, seed) for seed in given.seeds for variant in VARIANTS if (variant, seed) not in known]
    with ProcessPoolExecutor(given.jobs, initializer=open_parts, initargs=(given.root,)) as pool:
        for future in as_completed([pool.submit(run, *one) for one in wanted]):
            done.append(future.result())
            print("{variant}, seed {seed}: validation accuracy {valid_accuracy:.4f}, {cpu_seconds:.0f} s of one core".format(**done[-1]), flush=True)
            FILE.write_text(json.dumps(done, indent=1) + "\n")


if __name__ == "__main__":
    main()
