"The doctor: every planted fault is named, first and in its place; healthy set-ups are left alone."
import functools
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vit_from_scratch.config import Config, preset, with_settings
from vit_from_scratch.data import ImageSet, load_data
from vit_from_scratch.doctor import _SAYINGS, Diagnosis, _take, diagnose
from vit_from_scratch.museum import BlocksInAList, ClassTokenLast, NoPositions, PlainViT
from vit_from_scratch.vit import ViT


@functools.cache
def shapes():
    return load_data("shapes", limit=1200)


def vit(**changes) -> ViT:
    torch.manual_seed(0)
    return ViT(**dict(image_size=32, patch_size=8, num_classes=10, embed_dim=48, depth=2, num_heads=3) | changes)


def with_train(**changes):
    data = shapes()
    return replace(data, train=data.train.with_settings(**changes))


def with_valid(**changes):
    data = shapes()
    return replace(data, valid=data.valid.with_settings(**changes))


def batches(change=lambda x, y: (x, y), part=None):
    return [change(x, y) for x, y in (part or shapes().train)]


def cnn() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(512, 10))


class Changed(nn.Module):
    "A sound model with something done to its images or its logits."

    def __init__(self, after=lambda logits: logits, before=lambda images: images, inner=None):
        super().__init__()
        self.inner, self.before, self.after = inner or vit(), before, after

    def forward(self, images):
        return self.after(self.inner(self.before(images)))


def one_class_mostly():
    part = shapes().train
    first = (part.labels == 0).nonzero()[:, 0]
    rest = (part.labels != 0).nonzero()[:, 0]
    index = torch.cat([first, rest[: len(first) * 2 // 3]])
    return part.subset(index[torch.randperm(len(index), generator=torch.Generator().manual_seed(0))])


def big_head():
    model = vit()
    nn.init.normal_(model.head.weight, std=2.0)
    return model


def frozen():
    return vit().requires_grad_(False)


class Sigmoids(nn.Module):
    "Eight layers of sigmoids, without norms and without residual roads."

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        widths = [3 * 32 * 32] + 8 * [64]
        self.blocks = nn.Sequential(*(nn.Sequential(nn.Linear(a, b), nn.Sigmoid()) for a, b in zip(widths, widths[1:], strict=False)))
        self.head = nn.Linear(64, 10)

    def forward(self, images):
        return self.head(self.blocks(images.flatten(1)))


def one_broken_pixel(x, y):
    x = x.clone()
    x[3, 0, 5, 5] = torch.nan
    return x, y


def plan(**changes) -> Config:
    return with_settings(preset("shapes"), **{"epochs": 20} | changes)


def shuffled(labels):
    return labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))]


def leaky():
    data = shapes()
    both = torch.cat([data.valid.images[50:], data.train.images[:50]]), torch.cat([data.valid.labels[50:], data.train.labels[:50]])
    return replace(data, valid=data.valid.with_settings(images=both[0], labels=both[1], masks=None))


def raw(part: ImageSet) -> ImageSet:
    return part.with_settings(mean=(0.0,) * 3, std=(1.0,) * 3)


FAULTS = {  # name: model, data, settings, name of the finding, a word of it
    "a pixel that is not a number": (vit, lambda: batches(one_broken_pixel), None, "nan", "NaN"),
    "one image for all": (vit, lambda: batches(lambda x, y: (torch.zeros_like(x), y)), None, "copies", "copies"),
    "pixels from 0 to 255": (vit, lambda: with_train(mean=(0.0,) * 3, std=(1 / 255,) * 3).train, None, "not normalised", "0 to 255"),
    "pixels from 0 to 1": (vit, lambda: raw(shapes().train), None, "not normalised", "raw"),
    "validation not normalised": (vit, lambda: with_valid(mean=(0.0,) * 3, std=(1.0,) * 3), None, "treated differently", "Validation images have mean"),
    "training images in validation": (vit, leaky, None, "leak", "training images too"),
    "images of another size": (lambda: vit(image_size=64), shapes, None, "refused", "refuses"),
    "labels as fractions": (vit, lambda: batches(lambda x, y: (x, y.float())), None, "not whole", "torch.float32"),
    "labels from 1": (vit, lambda: batches(lambda x, y: (x, y + 1)), None, "out of range", "run from 1 to 10"),
    "one label for all": (vit, lambda: with_train(labels=torch.zeros_like(shapes().train.labels)), None, "one class", "All 1200 labels"),
    "60 % of one class": (vit, one_class_mostly, None, "unbalanced", "60%"),
    "labels shuffled": (vit, lambda: with_train(labels=shuffled(shapes().train.labels)), None, "unrelated", "unrelated"),
    "labels one image late": (vit, lambda: with_train(labels=shapes().train.labels.roll(1)), None, "slipped", "label of the previous image"),
    "labels one image early": (vit, lambda: with_train(labels=shapes().train.labels.roll(-1)), None, "slipped", "label of the next image"),
    "validation classes count from elsewhere": (vit, lambda: with_valid(labels=(shapes().valid.labels + 3) % 10), None, "counted differently", "adding 3"),
    "validation labels shuffled": (vit, lambda: with_valid(labels=shuffled(shapes().valid.labels)), None, "another task", "says nothing about validation"),
    "softmax in the model": (lambda: Changed(lambda z: z.softmax(1)), shapes, None, "probabilities", "probabilities already"),
    "a logarithm of zero": (lambda: Changed(lambda z: z + torch.zeros_like(z).log()), shapes, None, "broken logits", "NaN or infinity"),
    "a head drawn too large": (big_head, shapes, None, "sure and wrong", "sure of wrong answers"),
    "dropout that ignores the mode": (lambda: Changed(lambda z: F.dropout(z, 0.5)), shapes, None, "always random", "asked twice"),
    "blocks in a list": (lambda: BlocksInAList(num_classes=10), shapes, None, "hidden modules", "plain list"),
    "24 heads of 2 channels": (lambda: vit(num_heads=24), shapes, None, "narrow heads", "2 wide"),
    "1000 outputs for 10 classes": (lambda: vit(num_classes=1000), shapes, None, "wide head", "1000 outputs"),
    "dropout of 0.9": (lambda: vit(dropout=0.9), shapes, None, "dropout", "Dropout"),
    "nothing to train": (frozen, shapes, None, "frozen", "No parameter"),
    "logits that are detached": (lambda: Changed(inner=vit(), before=lambda x: x, after=lambda z: z.detach() + torch.zeros(10, requires_grad=True)), shapes, None, "no gradient", "no gradient reached"),
    "a root at zero": (lambda: Changed(lambda z: z + (z - z.detach()).square().sqrt()), shapes, None, "broken gradients", "NaN or infinity"),
    "positions that nobody adds": (lambda: NoPositions(num_classes=10), shapes, None, "no gradient", "1 of 32 parameters: pos_embed"),
    "eight sigmoids without a road": (Sigmoids, shapes, None, "lost on the way", "first block"),
    "a run of a few steps": (vit, shapes, plan(batch_size=1200, epochs=3), "few steps", "takes 3 steps"),
    "weight decay of 50": (vit, shapes, plan(weight_decay=50.0, algorithm="adamw"), "decay", "Weight decay"),
    "a rate of 3": (vit, shapes, plan(lr=3.0, weight_decay=0.0, algorithm="adamw"), "rate", "too high"),
    "a rate of 1e-7": (vit, shapes, plan(lr=1e-7, algorithm="adamw"), "rate", "too low"),
    "images that do not reach the model": (lambda: Changed(before=lambda x: torch.ones_like(x)), shapes, None, "one batch", "did not learn"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named_first(fault):
    make, data, config, name, words = FAULTS[fault]
    found = diagnose(make(), data(), config=config)
    assert found.findings, f"not found; {found}"
    first = found.findings[0]
    assert (first.name, first.where) == (name, _SAYINGS[name][0]) and words in first.what, str(found)


def test_every_saying_has_a_planted_fault():
    assert {name for *_, name, _ in FAULTS.values()} == set(_SAYINGS)


HEALTHY = {
    "ViT, class token": lambda: (vit(), shapes(), None, plan()),
    "ViT, average, registers, fixed positions, six blocks": lambda: (vit(pool="avg", num_registers=2, pos_embed="sincos", depth=6), shapes(), None, None),
    "ViT with dropout and stochastic depth, Muon": lambda: (vit(dropout=0.1, drop_path=0.1, qk_norm=True), shapes(), None, plan(algorithm="muon")),
    "the museum's ViT": lambda: (PlainViT(num_classes=10), shapes(), None, None),
    "a small CNN on plain batches": lambda: (cnn(), batches(part=shapes().train.with_settings(shuffle=True)), batches(part=shapes().valid), None),
    "a head that starts at zero": lambda: (zero_head(), shapes(), None, None),
    "a rate of 1e-4": lambda: (vit(), shapes(), None, plan(lr=1e-4, algorithm="adamw")),
    "a rate of 1e-2": lambda: (vit(), shapes(), None, plan(lr=1e-2, algorithm="adamw")),
    "few images": lambda: (vit(), shapes().train.subset(range(64)), None, None),
}  # fmt: skip


def zero_head():
    model = vit()
    nn.init.zeros_(model.head.weight)
    return model


@pytest.mark.parametrize("case", HEALTHY)
def test_healthy_set_ups_are_left_alone(case):
    model, data, valid, config = HEALTHY[case]()
    found = diagnose(model, data, valid, config)
    assert not found and isinstance(found, Diagnosis), str(found)
    assert str(found).startswith("nothing found")


def test_some_bugs_are_for_tests_not_for_doctors():
    "A class token at the wrong end trains; the doctor says so little about it that lesson 11 is needed."
    torch.manual_seed(0)
    assert not diagnose(ClassTokenLast(num_classes=10), shapes())


def test_findings_come_in_order():
    data = with_train(labels=shuffled(shapes().train.labels))
    data = replace(data, train=raw(data.train))
    found = diagnose(Changed(lambda z: z.softmax(1)), data, config=plan(weight_decay=50.0, algorithm="adamw"))
    order = ["pixels", "labels", "logits", "widths", "gradients", "plan", "rate", "one batch"]
    organs = [finding.where for finding in found.findings]
    assert organs[0] == "pixels" and {"labels", "logits", "plan"} <= set(organs)
    first = [organs.index(where) for where in ("labels", "logits", "plan")]
    assert first == sorted(first) and set(organs) <= set(order)
    assert str(found).splitlines()[0].startswith("1. pixels: ")


def test_the_model_and_the_random_stream_are_left_alone():
    model = vit(dropout=0.1).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    diagnose(model, shapes().train, steps=3)
    assert torch.equal(torch.rand(2), wanted) and not model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_labels_of_every_kind_are_read_as_fit_reads_them():
    images, labels = torch.rand(4, 3, 2, 2), torch.tensor([3, 1, 2, 0])
    for kind in ((images, labels[:, None]), {"pixel_values": images, "labels": labels}, (images, F.one_hot(labels, 4).double())):
        assert _take([kind], 4).labels.tolist() == [3, 1, 2, 0]


def test_no_images_no_diagnosis():
    with pytest.raises(ValueError, match="no images to look at"):
        diagnose(vit(), [])


# ---------------------------------------------------------------- vit doctor
QUICK = "dataset.limit=600 training.batch_size=50 training.device=cpu model.depth=2 model.embed_dim=32 model.patch_size=8 optimizer.algorithm=adamw".split()


def vit_command(*words, capsys):
    from vit_from_scratch import cli

    with pytest.raises(SystemExit) as end:
        cli.main([*words[:1], *(f"--set={setting}" for setting in QUICK), *words[1:]])
    return end.value.code, *capsys.readouterr()


def test_the_command_examines_settings_and_runs(tmp_path, capsys):
    code, out, err = vit_command("doctor", "--preset=shapes", "--set=training.epochs=20", capsys=capsys)
    assert (code, err) == (0, "") and out.startswith("nothing found")
    code, out, err = vit_command("doctor", "--set=training.epochs=20", "--set=optimizer.lr=30", "--set=optimizer.weight_decay=0", capsys=capsys)
    assert (code, err) == (1, "") and out.startswith("1. rate: At lr=30 ") and "too high" in out
    code, _, err = vit_command("train", "--set=training.epochs=2", f"--set=training.runs_dir={tmp_path}", "--set=training.tensorboard=false", capsys=capsys)
    assert code == 0, err
    (run,) = tmp_path.iterdir()
    code, out, err = vit_command("doctor", str(run), "--set=training.epochs=20", capsys=capsys)
    assert (code, err) == (0, "") and out.startswith("nothing found")


def test_the_command_takes_a_run_or_a_preset(capsys):
    code, out, err = vit_command("doctor", "runs/none", "--preset", "shapes", capsys=capsys)
    assert code == 2 and not out and err == "vit: give a run or --preset, not both: a run has settings of its own\n"
