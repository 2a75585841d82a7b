"""Images per second of two training loops on CIFAR-10, in turns on one machine: that of the work this grew from, and `fit`.

    python nbs/results/loop_pair.py --root data/cifar10 [--rounds 5] [--steps 12] [--out nbs/results/loop_pair.json]

The first loop follows the settings in scripts/training-cifar-10.sh of github.com/farhad-dalirani/vision-transformer-from-scratch
(width 128, 8 blocks, 4 heads, patch 4, dropout 0.1 in four places, Adam at 0.001 without decay, norm of the gradients at
most 1, cosine with 450 steps of warm-up, 256 images a step; mirror and RandAugment image by image in a `DataLoader`). It is
written anew from parts of torch and torchvision. It is given the number of worker processes that is fastest here, and is
measured in float32, as it was trained, and in bfloat16. `fit` runs the preset `cifar10` on full-size images in both formats.
"""

import argparse
import json
import math
import statistics
import time
from contextlib import nullcontext
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms
from torchvision.models import VisionTransformer

from vit_from_scratch.config import preset, with_settings
from vit_from_scratch.data import load_data
from vit_from_scratch.run import make_model
from vit_from_scratch.speedrun import describe_hardware
from vit_from_scratch.train import fit

EPOCHS = 300  # of the work this grew from, after which it reports 85.47 %
MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)  # of its script


class Pictures(Dataset):
    "Arrays in memory, one PIL image at a time, as torchvision's CIFAR10 gives them."

    def __init__(self, images, labels, transform):
        self.images, self.labels, self.transform = images.permute(0, 2, 3, 1).numpy(), labels.tolist(), transform

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        return self.transform(transforms.functional.to_pil_image(self.images[i])), self.labels[i]


def measure_loader_loop(part, steps, workers, precision):
    "The loop of the work this grew from: images per second over `steps` steps, after two that do not count."
    torch.manual_seed(0)
    augment = transforms.Compose([transforms.RandomHorizontalFlip(), transforms.RandAugment(2, 9), transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    loader = DataLoader(Pictures(part.images, part.labels, augment), 256, shuffle=True, num_workers=workers, drop_last=True)
    model = VisionTransformer(32, 4, 8, 4, 128, 512, dropout=0.1, attention_dropout=0.1, num_classes=10).train()
    optimizer, total = torch.optim.Adam(model.parameters(), lr=1e-3), EPOCHS * len(loader)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda i: min(1, (i + 1) / 450) * (1 + math.cos(math.pi * i / total)) / 2)
    autocast = torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else nullcontext()
    for number, (images, labels) in enumerate(loader):
        if number == 2:
            began = time.perf_counter()
        if number == 2 + steps:
            return 256 * steps / (time.perf_counter() - began)
        with autocast:
            loss = torch.nn.functional.cross_entropy(model(images).float(), labels)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()


def measure_fit(data, steps, precision):
    "`fit` with the preset's augmentation and optimizer: images per second over as many images."
    batch = 128
    config = with_settings(preset("cifar10"), small_sizes=None, precision=precision, device="cpu")
    times, steps = {}, 2 * steps  # half the batch

    def watch(trainer):
        if trainer.event == "step" and trainer.step in (4, 4 + steps):
            times[trainer.step] = time.perf_counter()
            trainer.stop = trainer.step > 4

    fit(make_model(config, data), data.train, config=config, callbacks=watch, progress=False)
    return batch * steps / (times[4 + steps] - times[4])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12, help="of 256 images")
    parser.add_argument("--out", type=Path, default=Path("nbs/results/loop_pair.json"))
    given = parser.parse_args()
    data = load_data("cifar10", given.root)
    part = data.train
    tried = {workers: measure_loader_loop(part, given.steps, workers, "float32") for workers in (0, 2, 4)}
    workers = max(tried, key=tried.get)
    print("workers tried:", {k: round(v) for k, v in tried.items()}, flush=True)
    contestants = {f"loop of the work this grew from, {p}": lambda p=p: measure_loader_loop(part, given.steps, workers, p) for p in ("float32", "bfloat16")}
    contestants |= {f"vit train --preset cifar10, {p}": lambda p=p: measure_fit(data, given.steps, p) for p in ("float32", "bfloat16")}
    found = {name: [] for name in contestants}
    for _ in range(given.rounds):
        for name, measure in contestants.items():
            found[name].append(measure())
            print(f"{name}: {found[name][-1]:,.0f} images/s", flush=True)
    slow = statistics.median(found["loop of the work this grew from, float32"])
    record = {"date": time.strftime("%Y-%m-%d"), "hardware": describe_hardware(torch.device("cpu")), "workers": workers, "workers_tried": tried,
              "images_per_second": found, "computed_hours_of_300_epochs": EPOCHS * 45_000 / slow / 3600}  # fmt: skip
    given.out.write_text(json.dumps(record, indent=1) + "\n")
    for name, values in found.items():
        print(f"{name}: median {statistics.median(values):,.0f}, {min(values):,.0f} to {max(values):,.0f}, {len(values)} rounds")
    print(f"300 epochs of 45,000 images at the first: {record['computed_hours_of_300_epochs']:.1f} h, computed")


if __name__ == "__main__":
    main()
