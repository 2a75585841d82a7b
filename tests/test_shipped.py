"The trained weights that come with the package: what their cards claim, checked without a download."

import json
from importlib.resources import files

import pytest
import torch

from vit_from_scratch.cli import preset_of, unseen_pictures
from vit_from_scratch.config import Config
from vit_from_scratch.data import load_samples
from vit_from_scratch.train import evaluate
from vit_from_scratch.vit import ViT
from vit_from_scratch.weights import load_weights

WEIGHTS = files("vit_from_scratch") / "weights"


@pytest.fixture(scope="module", params=["cifar10", "cifar10-cpu"])
def name(request):
    return request.param


@pytest.fixture(scope="module")
def card(name):
    return json.loads((WEIGHTS / f"{name}.json").read_text())


def test_the_samples_give_the_accuracy_that_is_claimed(name, card):
    model, samples = ViT.from_shipped(name), load_samples("cifar10")
    assert tuple(model.classes) == tuple(samples.classes)
    torch.testing.assert_close(torch.tensor(model.mean), torch.tensor(samples.mean))
    assert abs(evaluate(model, samples).accuracy - card["results"]["samples_accuracy"]) <= 0.001
    assert evaluate(ViT(**model.arguments), samples).accuracy < 0.3  # an untrained one fails the same samples


def test_weights_are_small_and_their_settings_open_again(name, card):
    assert len((WEIGHTS / f"{name}.safetensors").read_bytes()) <= 4e6
    config, arguments = Config(**card["config"]), ViT.from_shipped(name).arguments
    assert config.training.epochs == card["results"]["epochs"]
    for setting in ("patch_size", "embed_dim", "depth", "num_heads", "pool"):
        assert getattr(config.model, setting) == arguments[setting]


def test_the_card_states_the_figures(name, card):
    text = (WEIGHTS / f"{name}.md").read_text()
    assert text.startswith(f"# {name}: ") and f"settings in `{name}.json`" in text
    assert f"{card['results']['run_accuracy']:.2%}" in text and f"{card['results']['parameters']:,} parameters" in text


def test_every_shipped_model_knows_its_data():
    names = sorted(file.name.removesuffix(".safetensors") for file in WEIGHTS.iterdir() if file.name.endswith(".safetensors"))
    assert names == ["cifar10", "cifar10-cpu", "cifar10-gpu", "shapes", "shapes-weave"]
    assert [preset_of(name).dataset.name for name in names] == ["cifar10"] * 3 + ["shapes"] * 2
    for name in names:
        pictures, labels = unseen_pictures(name, None, ViT.from_shipped(name).classes, number=20)
        assert len(pictures) == len(labels) == (100 if name.startswith("cifar10") else 20)


def test_advice_that_would_not_help_is_not_given():
    narrow = ViT(**{**ViT.from_shipped("cifar10").arguments, "embed_dim": 64})
    for new_head in (False, True):
        with pytest.raises(ValueError, match=r"^cls_token is 1x1x128 in the source and 1x1x64 in this model$"):
            load_weights(narrow, "cifar10", new_head=new_head)
