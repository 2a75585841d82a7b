"""Train the two models of the built-in shapes that come with the package, and write their weights.

    python nbs/results/ship_shapes.py shapes          every object in a weave drawn by lot, as `load_data("shapes")` has it
    python nbs/results/ship_shapes.py shapes-weave    every form in its own weave: the planted shortcut of lesson 05

Both follow the preset `shapes`, seed 0, on one thread; a hundred seconds of one core's time each.
"""

import argparse
import inspect
from dataclasses import replace
from pathlib import Path

import torch

from vit_from_scratch.config import preset
from vit_from_scratch.data import load_data, measure_mean_std
from vit_from_scratch.shapes import make_shapes
from vit_from_scratch.train import evaluate, fit
from vit_from_scratch.vit import ViT
from vit_from_scratch.weights import save_weights

WEIGHTS = Path(__file__).parents[2] / "vit_from_scratch" / "weights"
SEEDS = {"train": 0, "test": 1, "valid": 2}  # those of `load_data("shapes")`


def with_shortcut(data):
    "The same forms, places and colours, every form in its own weave."
    parts = {name: getattr(data, name) for name in SEEDS}
    drawn = {name: make_shapes(part.num_images, seed=SEEDS[name], weave="class") for name, part in parts.items()}
    mean, std = measure_mean_std(drawn["train"][0])
    changed = {
        name: part.with_settings(images=drawn[name][0], labels=drawn[name][1], masks=drawn[name][2], mean=mean, std=std)
        for name, part in parts.items()
    }
    return replace(data, **changed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("shapes", "shapes-weave"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    config, data = preset("shapes"), load_data("shapes")
    data = with_shortcut(data) if given.name == "shapes-weave" else data
    known = inspect.signature(ViT).parameters
    arguments = {k: v for k, v in config.model.model_dump().items() if k in known}
    torch.manual_seed(config.training.seed)
    model = ViT(**arguments | {"image_size": 32, "in_channels": 3, "num_classes": 10})
    fit(model, data, config=config)
    print(f"test accuracy {evaluate(model, data.test).accuracy:.4f}")
    model.classes, model.mean, model.std = data.classes, data.mean, data.std
    save_weights(model, WEIGHTS / f"{given.name}.safetensors", torch.float16)


if __name__ == "__main__":
    main()
