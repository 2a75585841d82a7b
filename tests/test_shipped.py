"The trained weights that come with the package: what their cards claim, checked without a download."

import json
from importlib.resources import files

import pytest
import torch

from vit_from_scratch.config import Config
from vit_from_scratch.data import load_samples
from vit_from_scratch.train import evaluate
from vit_from_scratch.vit import ViT

WEIGHTS = files("vit_from_scratch") / "weights"


@pytest.fixture(scope="module")
def card():
    return json.loads((WEIGHTS / "cifar10.json").read_text())


def test_the_samples_give_the_accuracy_that_is_claimed(card):
    model, samples = ViT.from_shipped("cifar10"), load_samples("cifar10")
    assert tuple(model.classes) == tuple(samples.classes)
    torch.testing.assert_close(torch.tensor(model.mean), torch.tensor(samples.mean))
    assert abs(evaluate(model, samples).accuracy - card["results"]["samples_accuracy"]) <= 0.001
    assert evaluate(ViT(**model.arguments), samples).accuracy < 0.3  # an untrained one fails the same samples


def test_weights_are_small_and_their_settings_open_again(card):
    assert len((WEIGHTS / "cifar10.safetensors").read_bytes()) <= 4e6
    config, arguments = Config(**card["config"]), ViT.from_shipped("cifar10").arguments
    assert config.training.epochs == card["results"]["epochs"]
    for name in ("patch_size", "embed_dim", "depth", "num_heads", "pool"):
        assert getattr(config.model, name) == arguments[name]


def test_the_card_states_the_figures(card):
    text = (WEIGHTS / "cifar10.md").read_text()
    assert f"{card['results']['run_accuracy']:.2%}" in text and f"{card['results']['parameters']:,} parameters" in text
