"Data and models as people have them: each gives the right value, or one sentence that helps."

import contextlib
import csv
import io
import json
import shutil
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from vit_from_scratch import cli
from vit_from_scratch.batches import BatchCheck, loss_sum, weigh_classes
from vit_from_scratch.callbacks import RateFinder
from vit_from_scratch.checkpoint import read_checkpoint
from vit_from_scratch.config import Config, ConfigError, preset, resolve, with_overrides, with_settings
from vit_from_scratch.data import (
    ImageData,
    ImageSet,
    load_data,
    number_groups,
    read_image,
    read_images,
    split_indices,
)
from vit_from_scratch.estimate import estimate, model_arguments
from vit_from_scratch.hardware import World
from vit_from_scratch.loaders import describe_model, shrink
from vit_from_scratch.page import export_html
from vit_from_scratch.train import evaluate, fit, predict
from vit_from_scratch.vit import ViT, count_multiply_adds
from vit_from_scratch.weights import export_onnx, from_hub, load_model, load_weights, save_weights, to_hub, write_hub_folder

X, Y = torch.randn(32, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(32) % 3
QUICK = dict(epochs=1, warmup_epochs=0.1, progress=False, device="cpu", precision="float32")


def tiny(**changes):
    torch.manual_seed(0)
    return ViT(**dict(image_size=16, patch_size=8, num_classes=3, embed_dim=16, depth=1, num_heads=2) | changes)


def loader(images=X, labels=Y):
    return DataLoader(TensorDataset(images, labels), batch_size=8)


def pictures(folder, n=8, shade=100, suffix=".png", side=16, first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + n):
        noise = np.random.default_rng([i, shade]).integers(0, 50, (side, side, 3)) + shade
        Image.fromarray(noise.astype("uint8")).save(folder / f"{i}{suffix}")


def two_classes(root, n=8):
    pictures(root / "a", n)
    pictures(root / "b", n, shade=150)
    return root


def vit(*words):
    "A command in this process: exit code, output, errors"
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    return end.value.code, out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    "A run on two classes of 16 × 32 pixels"
    folder = tmp_path_factory.mktemp("wide") / "run"
    images = torch.randint(0, 256, (32, 3, 16, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    part = ImageSet(images, torch.arange(32) % 2, ("a", "b"), (0.5,) * 3, (0.3,) * 3)
    fit(tiny(image_size=(16, 32), num_classes=2), part, valid=part, run_dir=folder, tensorboard=False, **QUICK)
    return folder


# ---------------------------------------------------------------- 1, 2: batches


class Items:
    def __init__(self, item):
        self.item = item

    def __len__(self):
        return 16

    def __getitem__(self, i):
        return self.item(i)


@pytest.mark.parametrize("data", [
    DataLoader(Items(lambda i: {"pixel_values": X[i], "labels": int(Y[i])}), batch_size=8),
    DataLoader(Items(lambda i: {"image": X[i], "label": int(Y[i])}), batch_size=8),
    [(X[i : i + 8].numpy(), Y[i : i + 8].numpy()) for i in (0, 8)],
    [(X[i : i + 8], Y[i : i + 8].tolist()) for i in (0, 8)],
    [(X[i : i + 8].double(), Y[i : i + 8].int()) for i in (0, 8)],
    [(X[i : i + 8], Y[i : i + 8, None].byte()) for i in (0, 8)],
], ids=["Hugging Face", "dict", "numpy", "lists", "float64 and int32", "columns of uint8"])  # fmt: skip
def test_what_is_clear_is_adapted(data):
    plain = [(X[i : i + 8], Y[i : i + 8]) for i in (0, 8)]
    assert evaluate(tiny(), data).as_dict() == evaluate(tiny(), plain).as_dict()
    ours, theirs = (fit(tiny(), d, **QUICK).rows[-1]["train_loss"] for d in (data, plain))
    assert ours == theirs


@pytest.mark.parametrize("data, words", [
    (DataLoader(Items(lambda i: (X[i], int(Y[i]), i)), batch_size=8), "3 parts"), (DataLoader(Items(lambda i: (X[i], "cat")), batch_size=8), "number the classes"),
    ((X, Y), "two arrays"), ("photos/", "load_data"), (None, "None"), (TensorDataset(X, Y), "single images"), (DataLoader(TensorDataset(X, Y), batch_size=None), "single images"),
    ([X[:8]], "one tensor"), ([{"x": X, "z": Y}], "keys x, z"), (loader((X * 40).byte()), "torch.uint8"), (loader((X - X.min()) * 30), "as if they were not normalised"),
    (loader(X, Y.float()), "regression"), (loader(X, torch.ones(32, 3).long()), "Several labels"), (loader(X, torch.full((32, 3), 0.5)), "sum to one"),
    (loader(X, torch.full((32, 2), 0.5)), "(B, 3)"), (loader(X, Y + 1), "0 to 2"), (loader(X, Y - 1), "0 to 2"), ([(X, Y[:5])], "32 images but 5 labels"),
])  # fmt: skip
def test_what_is_not_clear_is_one_sentence(data, words):
    for call in (lambda: fit(tiny(), data, **QUICK), lambda: evaluate(tiny(), data)):
        with pytest.raises(ValueError) as error:
            call()
        assert words in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("wrong", [3, -1])
def test_a_wrong_label_of_the_last_batch_is_found_before_the_first_step(wrong):
    labels, steps = Y.clone(), []
    labels[-1] = wrong
    for data, valid in ((loader(), loader(X, labels)), ([(X, labels)], None)):
        with pytest.raises(ValueError, match="labels run from"):
            fit(tiny(), data, valid=valid, callbacks=lambda trainer: steps.append(trainer.event), **QUICK)
    assert "step" not in steps


def test_counts_kept_on_a_device_are_told_when_losses_are_read(monkeypatch):
    monkeypatch.setattr(BatchCheck, "_count", lambda self, fault, wrong, sentence: self.counts[fault].add_(wrong.sum()))
    labels, seen = Y.clone(), []
    labels[9] = 7
    with pytest.raises(ValueError, match="1 labels are outside"):
        fit(tiny(), loader(X, labels), log_every=3, callbacks=lambda t: seen.append(t.step) if t.event == "step" else None, **QUICK)
    assert seen == [1, 2]  # harmless until then


def test_nothing_that_is_no_number_is_measured():
    model, bad = tiny(), X.clone()
    bad[20] = float("nan")
    for call in (evaluate, predict):
        with pytest.raises(ValueError, match="1 answers of the model are not finite"):
            call(model, loader(bad))
    with torch.no_grad():
        model.head.bias[0] = float("inf")
    with pytest.raises(ValueError, match="32 answers"):
        evaluate(model, loader())


def test_answers_of_other_models():
    class As(nn.Module):
        def __init__(self, wrap):
            super().__init__()
            self.inner, self.wrap = tiny(), wrap

        def forward(self, images):
            return self.wrap(self.inner(images))

    wanted = evaluate(tiny(), loader()).as_dict()
    for same in (lambda z: type("Output", (), {"logits": z})(), lambda z: {"logits": z}, lambda z: (z,)):
        assert evaluate(As(same), loader()).as_dict() == wanted
        fit(As(same), loader(), **QUICK)
    for wrong, words in ((lambda z: (z, z), "tuple"), (lambda z: z[:, 0], "(8,)"), (lambda z: z[:, :1], "two classes"), (lambda z: z[..., None], "(8, 3, 1)")):
        for call in (lambda m: fit(m, loader(), **QUICK), lambda m: evaluate(m, loader())):
            with pytest.raises(ValueError) as error:
                call(As(wrong))
            assert words in str(error.value)
    with pytest.raises(ValueError, match="model.float"):
        fit(tiny().half(), loader(), **QUICK)
    assert evaluate(tiny().bfloat16(), loader()).num_images == 32


def test_validation_may_be_a_stream():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter([(torch.zeros(3, 16, 16), 0)] * 9)

    part = ImageSet((X > 0).byte() * 255, Y, ("a", "b", "c"), (0.5,) * 3, (0.5,) * 3)
    fit(tiny(), ImageData("mine", part, part, part), valid=DataLoader(Stream(), batch_size=4), **QUICK)


# ---------------------------------------------------------------- 3, 12: settings


@pytest.mark.parametrize("words, meant", [
    (["dataset.root=photos"], "dataset.name=imagefolder"), (["optimizer.algorithm=sgd", "optimizer.betas=0.8,0.9"], "momentum"),
    (["optimizer.algorithm=adamw", "optimizer.muon_lr=0.1"], "optimizer.lr"), (["optimizer.algorithm=adamw", "optimizer.momentum=0.5"], "betas"),
    (["lr_scheduler.schedule=constant", "lr_scheduler.min_lr=1e-5"], "never comes down"), (["transform.randaugment_magnitude=5", "transform.randaugment_ops=0"], "applies none"),
])  # fmt: skip
def test_a_setting_without_effect_is_refused(words, meant):
    with pytest.raises(ConfigError) as error:
        resolve(None, words)
    assert "no effect" in str(error.value) and meant in str(error.value)


def test_names_of_others_lead_somewhere():
    nearest = {"num_epochs": "training.epochs", "gpus": "training.device", "device_ids": "training.device", "learning_rate": "optimizer.lr"}
    for name, meant in nearest.items():
        with pytest.raises(ConfigError, match=meant):
            fit(tiny(), loader(), **{**QUICK, name: 1})
    otherwise = {"val": "argument valid", "patience": "EarlyStopping", "early_stopping": "EarlyStopping", "criterion": "cross-entropy", "focal_loss": "focal loss", "max_steps": "stop"}
    for name, meant in otherwise.items():
        with pytest.raises(ConfigError) as error:
            fit(tiny(), loader(), **{**QUICK, name: 1})
        assert meant in str(error.value) and "nearest" not in str(error.value)
    with pytest.raises(ConfigError, match="lists all"):
        with_settings(Config(), zzzz=1)


def test_another_image_size_leaves_out_the_small_sizes_of_a_preset():
    for name in ("shapes", "cifar10"):
        assert with_overrides(preset(name), ["model.image_size=16"]).training.small_sizes is None
    with pytest.raises(ConfigError, match="small_sizes"):
        with_overrides(preset("cifar10"), ["model.image_size=16", "training.small_sizes=24"])


def test_home_and_version_and_an_empty_preset(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert with_settings(Config(), root="~/photos").dataset.root == str(tmp_path / "photos")
    fit(tiny(), loader(), run_dir="~/runs/first", tensorboard=False, **QUICK)
    assert (tmp_path / "runs" / "first" / "last.pth").is_file() and not (tmp_path / "~").exists()
    code, out, err = vit("--version")
    assert code == 0 and out.startswith("vit ") and not err
    code, out, err = vit("train", "--preset", "")
    assert code == 2 and "--preset is empty" in err and not out
    code, out, err = vit("train", "--epochs", "5")
    assert code == 2 and "--set training.epochs=" in err


@pytest.mark.parametrize("name", ["loss.name=focal", "loss.gamma=2", "loss.type=bce", "training.focal=true"])
def test_another_loss_is_one_sentence(name):
    code, out, err = vit("train", "--set", name)
    assert code == 2 and "several labels per image and regression are not what this trains" in err and len(err.splitlines()) == 1
    with pytest.raises(ConfigError, match="label_smoothing"):
        resolve(None, ["loss.smoothing=0.1"])


# ---------------------------------------------------------------- classes of unequal size


def unequal(*counts, side=16):
    "An `ImageSet` with so many images of each class, told apart by their shade"
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    noise = torch.randint(0, 60, (len(labels), 3, side, side), generator=torch.Generator().manual_seed(0))
    images = (noise + labels.view(-1, 1, 1, 1) * 15).byte()
    return ImageSet(images, labels, tuple("abcdef"[: len(counts)]), (0.2,) * 3, (0.1,) * 3)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("mixed", [False, True])
def test_class_weights_are_those_of_torch(smoothing, mixed):
    config = with_settings(Config(), class_weights="1,2.5,0.5", label_smoothing=smoothing)
    weights, logits, labels = weigh_classes(config, loader(), tiny()), torch.randn(9, 3), torch.arange(9) % 3
    torch.testing.assert_close(weights / weights[0], torch.tensor([1, 2.5, 0.5]))
    labels = 0.6 * nn.functional.one_hot(labels, 3) + 0.4 * nn.functional.one_hot(labels.flip(0), 3) if mixed else labels
    theirs = nn.CrossEntropyLoss(weight=weights, label_smoothing=smoothing, reduction="sum")(logits, labels)
    torch.testing.assert_close(loss_sum(logits, labels, config.loss, weights), theirs)
    # the formula: a sum over classes of share x weight x -log p
    shares = labels if mixed else nn.functional.one_hot(labels, 3).float()
    by_hand = -((shares * (1 - smoothing) + smoothing / 3) * weights * logits.log_softmax(1)).sum()
    torch.testing.assert_close(loss_sum(logits, labels, config.loss, weights), by_hand)


def test_weights_reach_the_step():
    part = unequal(24, 8)
    common = dict(QUICK, batch_size=32, algorithm="sgd", momentum=0.0, weight_decay=0.0, grad_clip=None, schedule="constant", warmup_epochs=0.0, lr=0.1)
    model, other = tiny(num_classes=2), tiny(num_classes=2)
    history = fit(model, part, class_weights="balanced", **common)
    weights = torch.tensor([32 / (2 * 24), 32 / (2 * 8)])
    images, labels = part.normalize(part.images), part.labels
    loss = nn.functional.cross_entropy(other(images), labels, weight=weights)  # torch's mean: all images in one batch, mean weight 1
    loss.backward()
    assert abs(history.rows[0]["train_loss"] - float(loss.detach())) < 1e-5
    for ours, theirs in zip(model.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours.data, theirs.data - 0.1 * theirs.grad, atol=1e-6, rtol=1e-4)


def test_balanced_equals_the_same_numbers_written_out_and_scikit_learn():
    part = unequal(24, 6, 2)
    weights = weigh_classes(with_settings(Config(), class_weights="balanced"), part, tiny())
    sklearn = pytest.importorskip("sklearn.utils.class_weight")
    theirs = sklearn.compute_class_weight("balanced", classes=np.arange(3), y=part.labels.numpy())
    torch.testing.assert_close(weights.double(), torch.tensor(theirs))
    assert weigh_classes(with_settings(Config(), class_weights="balanced"), part, tiny(num_classes=5)).tolist()[3:] == [1, 1]  # no image: never asked
    ours, written = (fit(tiny(), part, class_weights=w, **QUICK).rows[0]["train_loss"] for w in ("balanced", tuple(theirs)))
    assert abs(ours - written) < 1e-6
    for wrong, words in (("1,2", "2 numbers, but the model has 3"), ("1,-1,1", "above 0"), ("balance", "nearest valid choice: balanced"), ("1", "one or more|balanced")):
        with pytest.raises(ValueError, match=words):
            fit(tiny(), part, class_weights=wrong, **QUICK)


def test_labels_that_a_loader_does_not_say():
    class Silent:
        def __iter__(self):
            return iter([(X, Y)])

        def __len__(self):
            return 1

    with pytest.raises(ValueError, match="one number per class"):
        fit(tiny(), Silent(), class_weights="balanced", **QUICK)
    fit(tiny(), Silent(), class_weights="1,2,3", **QUICK)
    fit(tiny(), loader(), class_weights="balanced", **QUICK)  # a TensorDataset says them


def test_very_unequal_classes_are_named_once():
    with pytest.warns(UserWarning) as told:
        fit(tiny(num_classes=2), unequal(400, 4), **QUICK)
    said = [str(w.message) for w in told if "times as many" in str(w.message)]
    assert len(said) == 1 and "'a' has 100 times" in said[0] and "'b' (400 and 4)" in said[0] and "accuracy 0.990" in said[0]
    assert "loss.class_weights=balanced" in said[0] and "training.monitor=f1" in said[0]
    drawn = torch.utils.data.WeightedRandomSampler([1.0] * 32, 32)
    rare = DataLoader(TensorDataset(X, (torch.arange(32) == 0).long()), batch_size=8, sampler=drawn)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(tiny(num_classes=2), unequal(400, 4), monitor="f1", valid=unequal(4, 4), **QUICK)
        fit(tiny(num_classes=2), unequal(400, 4), class_weights="balanced", **QUICK)
        fit(tiny(num_classes=2), unequal(40, 8), **QUICK)
        fit(tiny(num_classes=2), rare, **QUICK)  # the sampler has seen to it


def test_the_best_epoch_by_f1():
    rows = [dict(epoch=e, valid_loss=0.5, valid_accuracy=a, valid_f1=f) for e, a, f in ((1, 0.9, 0.4), (2, 0.8, 0.7), (3, 0.85, 0.6))]
    from vit_from_scratch.checkpoint import History

    assert [History(rows, monitor=m).best["epoch"] for m in ("accuracy", "f1")] == [1, 2]
    found = evaluate(tiny(), loader())
    sklearn = pytest.importorskip("sklearn.metrics")
    said = predict(tiny(), loader())[0].argmax(1)
    assert abs(found.f1 - sklearn.f1_score(Y, said, average="macro")) < 1e-6


# ---------------------------------------------------------------- 4: folders


def test_a_link_back_counts_no_file_twice(tmp_path):
    two_classes(tmp_path)
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "0 once more.png").symlink_to(tmp_path / "a" / "0.png")
    data = load_data("imagefolder", tmp_path, image_size=16)
    assert data.train.num_images + data.valid.num_images + data.test.num_images == 16


@pytest.mark.parametrize("link, target", [("b/theirs", "a"), ("b/0 of a.png", "a/0.png"), ("a/up", ".")])
def test_one_image_cannot_have_two_labels(tmp_path, link, target):
    two_classes(tmp_path)
    (tmp_path / link).symlink_to(tmp_path / target)
    with pytest.raises(ValueError, match="two labels"):
        load_data("imagefolder", tmp_path, image_size=16)


def test_one_image_cannot_be_in_two_parts(tmp_path):
    two_classes(tmp_path / "train")
    pictures(tmp_path / "test" / "a", 2, first=20)
    (tmp_path / "test" / "b").symlink_to(tmp_path / "train" / "b")
    with pytest.raises(ValueError, match="in two parts"):
        load_data("imagefolder", tmp_path, image_size=16)


def test_an_archive_within_its_own_folder_and_one_class(tmp_path):
    for part in ("train", "val"):
        two_classes(tmp_path / "x" / "x" / part)
    with pytest.raises(ValueError, match="give root=.*x/x"):
        load_data("imagefolder", tmp_path / "x", image_size=16)
    (tmp_path / "x" / "__MACOSX" / "x").mkdir(parents=True)
    with pytest.raises(ValueError, match="give root=.*x/x"):
        load_data("imagefolder", tmp_path / "x", image_size=16)
    assert load_data("imagefolder", tmp_path / "x" / "x", image_size=16).classes == ("a", "b")
    pictures(tmp_path / "one" / "train" / "cat")
    with pytest.raises(ValueError, match="one class, 'cat'"):
        load_data("imagefolder", tmp_path / "one", image_size=16)


def test_what_is_left_out_is_said(tmp_path):
    two_classes(tmp_path)
    for name in ("0.heic", "1.HEIC", "2.psd", "readme.txt"):
        (tmp_path / "a" / name).write_bytes(b"x")
    (tmp_path / "notes").mkdir()
    (tmp_path / "@eaDir" / "a").mkdir(parents=True)
    with pytest.warns(UserWarning) as told:
        data = load_data("imagefolder", tmp_path, image_size=16)
    said = " ".join(str(w.message) for w in told)
    assert data.classes == ("a", "b") and "2 .heic, 1 .psd" in said and "notes" in said and ".txt" not in said.split("supported")[0]
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "0.heic").write_bytes(b"x")
    with pytest.raises(ValueError, match="c holds no image"):
        load_data("imagefolder", tmp_path, image_size=16)


def test_a_test_folder_without_labels_is_left_out(tmp_path):
    two_classes(tmp_path / "train", 20)
    pictures(tmp_path / "test", 5, first=50)
    with pytest.warns(UserWarning, match="vit predict"):
        data = load_data("imagefolder", tmp_path, image_size=16)
    assert data.test.num_images == 4 and data.train.num_images + data.valid.num_images + data.test.num_images == 40


def test_too_few_images_are_counted_and_named(tmp_path):
    pictures(tmp_path / "cat", 2)
    pictures(tmp_path / "dog", 9)
    with pytest.raises(ValueError, match="class 'cat' has too few images: 2 images for training and for valid and test"):
        load_data("imagefolder", tmp_path, image_size=16)
    pictures(tmp_path / "cat", 3)
    assert load_data("imagefolder", tmp_path, image_size=16).train.labels.bincount().tolist()[0] == 1


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tiff"])
def test_every_format_is_turned_upright(tmp_path, suffix):
    image, exif = Image.new("RGB", (20, 10)), Image.Exif()
    exif[274] = 6  # stands on its side
    image.save(tmp_path / f"x{suffix}", exif=exif)
    assert read_image(tmp_path / f"x{suffix}").size == (10, 20)


def test_groups_stay_on_one_side(tmp_path):
    paths = [f"{tmp_path}/{c}/p{i % 7}_{i}.png" for c in "ab" for i in range(28)]
    (tmp_path / "patients.csv").write_text("file,patient\n" + "".join(f"{p[len(str(tmp_path)) + 1:]},{p.split('/')[-1].split('_')[0]}\n" for p in paths))
    groups = number_groups(paths, "_", tmp_path)
    assert torch.equal(groups, number_groups(paths, "patients.csv:patient", tmp_path)) and groups.max() == 6
    labels = torch.arange(2).repeat_interleave(28)
    for seed in range(5):  # patients with images in both classes
        keep, cut = split_indices(labels, 0.3, seed, groups)
        assert not set(groups[keep].tolist()) & set(groups[cut].tolist()) and len(keep) + len(cut) == 56 and labels[cut].unique().numel() == 2
    for wrong, words in (("#", "has no group"), ("patients.csv:doctor", "column doctor")):
        with pytest.raises(ValueError, match=words):
            number_groups(paths, wrong, tmp_path)


# ---------------------------------------------------------------- 5, 6: pixels


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_greys_of_any_depth_keep_their_steps(tmp_path, bits):
    values = np.linspace(0, 2**bits - 1, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "x.png")
    read = np.asarray(read_image(tmp_path / "x.png", channels=1))
    assert len(np.unique(read)) == 256 and np.abs(read.astype(int) - (values >> (bits - 8))).max() == 0


@pytest.mark.parametrize("changes, words", [
    (dict(labels=Y[:5]), "one whole number for each"), (dict(labels=Y + 1), "labels run from 1 to 3"), (dict(labels=Y.float()), "one whole number"),
    (dict(labels=Y - 1), "from -1"), (dict(mean=(125.0,) * 3), "divide by 255"), (dict(std=(60.0,) * 3), "divide by 255"), (dict(mean=(0.5,)), "3 channels"),
    (dict(images=X[0]), "(M, C, H, W)"), (dict(images=X.int()), "torch.int32"), (dict(std=(0.5, 0.5, 0.0)), "positive"),
])  # fmt: skip
def test_an_image_set_checks_what_it_is_given(changes, words):
    facts = dict(images=(X > 0).byte(), labels=Y, classes=("a", "b", "c"), mean=(0.5,) * 3, std=(0.3,) * 3)
    ImageSet(**facts)
    assert ImageSet(**facts | dict(labels=Y.int())).labels.dtype == torch.int64
    with pytest.raises(ValueError) as error:
        ImageSet(**facts | changes)
    assert words in str(error.value)


# ---------------------------------------------------------------- 7, 8: weights


def test_a_position_table_is_never_guessed():
    small = dict(patch_size=16, num_classes=3, embed_dim=8, depth=1, num_heads=2)
    wide, square = ViT(image_size=(208, 240), **small), ViT(image_size=224, **small)  # 13 x 15 + 1 = 196 = 14 x 14
    with pytest.raises(ValueError, match="grid="):
        load_weights(ViT(image_size=224, **small), wide.state_dict())
    with pytest.raises(ValueError, match="may be 7x28 patches or 14x14"):
        load_weights(ViT(image_size=(112, 448), **small), square.state_dict())
    with pytest.raises(ValueError, match="init_resize=true"):
        load_weights(ViT(image_size=224, **small), wide.state_dict(), grid=(13, 15))
    resized = load_weights(ViT(image_size=224, **small), wide.state_dict(), grid=(13, 15), resize=True)
    assert torch.equal(resized.pos_embed[0, 0], wide.pos_embed[0, 0])
    same = load_weights(ViT(image_size=(208, 240), **small), wide.state_dict())
    assert torch.equal(same.pos_embed, wide.pos_embed)


def test_hugging_face_statistics_come_along(tmp_path):
    transformers = pytest.importorskip("transformers")
    shape = dict(image_size=16, patch_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64, num_labels=3)
    torch.manual_seed(0)
    theirs = transformers.ViTForImageClassification(transformers.ViTConfig(layer_norm_eps=1e-5, **shape)).eval()
    theirs.save_pretrained(tmp_path / "hf")
    assert load_weights(tiny(), f"hf:{tmp_path}/hf").mean is None  # nothing is made up
    transformers.ViTImageProcessor(image_mean=[0.4, 0.5, 0.6], image_std=[0.2, 0.3, 0.4]).save_pretrained(tmp_path / "hf")
    ours = load_weights(tiny(), f"hf:{tmp_path}/hf").eval()
    assert (list(ours.mean), list(ours.std)) == ([0.4, 0.5, 0.6], [0.2, 0.3, 0.4]) and ours.norm.eps == 1e-5
    with torch.no_grad():
        torch.testing.assert_close(ours(X), theirs(X).logits, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("told", [True, False])
def test_weights_of_colours_in_a_grey_model(tmp_path, told):
    from vit_from_scratch.weights import save_weights

    colour, grey = tiny().eval(), tiny(in_channels=1).eval()
    if told:
        colour.mean, colour.std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    save_weights(colour, tmp_path / "w.safetensors")
    load_weights(grey, tmp_path / "w.safetensors" if told else colour.state_dict())
    picture = torch.rand(4, 1, 16, 16)
    mean, std = ((torch.tensor(v).view(3, 1, 1) for v in (colour.mean, colour.std)) if told else (0.0, 1.0))
    here = (picture - grey.mean[0]) / grey.std[0] if told else picture
    with torch.no_grad():
        torch.testing.assert_close(grey(here), colour((picture.expand(-1, 3, -1, -1) - mean) / std), atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="patch_embed.proj.weight is 16x3x8x8 in the source and 16x2x8x8"):
        load_weights(tiny(in_channels=2), colour.state_dict())


def test_a_model_goes_to_the_hub_and_comes_back(tmp_path, monkeypatch):
    hub, model = pytest.importorskip("huggingface_hub"), tiny()
    model.classes, model.mean, model.std = ("a", "b", "c"), (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    stored, asked = tmp_path / "server", []

    def upload(repo_id, folder_path, commit_message):
        import shutil

        shutil.copytree(folder_path, stored / repo_id)
        return f"https://example.org/{repo_id}"

    monkeypatch.setattr(hub, "create_repo", lambda repo, **how: asked.append((repo, how)))
    monkeypatch.setattr(hub, "upload_folder", upload)
    monkeypatch.setattr(hub, "hf_hub_download", lambda repo, name: str(stored / repo / name))
    assert to_hub(model, "me/shapes", "Three classes.") == "https://example.org/me/shapes"
    assert asked == [("me/shapes", {"private": True, "exist_ok": True})]
    card = (stored / "me/shapes/README.md").read_text()
    assert card.startswith("---\nlibrary_name") and "Three classes." in card and "a, b, c" in card and 'from_hub("me/shapes")' in card
    for back in (from_hub("me/shapes"), from_hub(stored / "me/shapes"), from_hub(write_hub_folder(model, tmp_path / "mine"))):
        assert (back.classes, list(back.mean)) == (["a", "b", "c"], [0.4, 0.5, 0.6]) and not back.training
        assert all(torch.equal(a, b) for a, b in zip(back.state_dict().values(), model.state_dict().values(), strict=True))

    def lost(repo, name):
        raise hub.errors.HFValidationError("not a name\nmore")

    monkeypatch.setattr(hub, "hf_hub_download", lost)
    with pytest.raises(ValueError, match=r"no folder and could not be had from the hub as user/name \(not a name\)"):
        from_hub("nowhere")


def test_without_the_hub_package_it_is_one_sentence(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for call in (lambda: to_hub(tiny(), "me/x"), lambda: from_hub("me/x")):
        with pytest.raises(ValueError, match=r"pip install vit-from-scratch\[hub\]"):
            call()
    assert from_hub(write_hub_folder(tiny(), tmp_path / "x")).arguments == tiny().arguments  # a folder needs no package


def local_timm(folder, seed=0, **changes):
    "A ViT of timm with random numbers, saved as timm saves a pretrained one; its statistics are not the usual ones"
    timm, hub = pytest.importorskip("timm"), pytest.importorskip("timm.models._hub")
    torch.manual_seed(seed)
    theirs = timm.create_model("vit_tiny_patch16_224", **dict(img_size=16, patch_size=8, embed_dim=16, depth=1, num_heads=2, num_classes=3) | changes).eval()
    theirs.pretrained_cfg = {**theirs.pretrained_cfg, "mean": (0.1, 0.2, 0.3), "std": (0.4, 0.5, 0.6), "num_classes": 3}
    arguments = dict(img_size=16, patch_size=8, embed_dim=16, depth=1, num_heads=2)
    hub.save_for_hf(theirs, folder, model_config={"architecture": "vit_tiny_patch16_224", "num_classes": 3}, model_args=arguments)
    return theirs, f"timm:local-dir:{folder}"


def test_what_timm_knows_comes_along(tmp_path):
    theirs, name = local_timm(tmp_path / "timm")
    ours = load_weights(tiny(), name).eval()
    assert (list(ours.mean), list(ours.std), ours.norm.eps) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6], theirs.norm.eps)
    grey = load_weights(tiny(in_channels=1), name).eval()
    assert abs(grey.mean[0] - 0.2) < 1e-9 and abs(grey.std[0] - 0.5) < 1e-9
    with torch.no_grad():
        torch.testing.assert_close(ours(X), theirs(X), atol=1e-5, rtol=1e-4)
    fresh = load_weights(tiny(num_classes=5), name, new_head=True)
    assert fresh.mean is not None and fresh.classes is None and fresh.head.weight.shape == (5, 16)


def test_class_names_and_scaling_of_hugging_face(tmp_path):
    transformers = pytest.importorskip("transformers")
    shape = dict(image_size=16, patch_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    names = {0: "cat", 1: "dog", 2: "$5"}
    transformers.ViTForImageClassification(transformers.ViTConfig(id2label=names, **shape)).save_pretrained(tmp_path / "hf")
    transformers.ViTImageProcessor(do_normalize=False).save_pretrained(tmp_path / "hf")
    ours = load_weights(tiny(), f"hf:{tmp_path}/hf")
    assert (list(ours.classes), list(ours.mean), list(ours.std), ours.norm.eps) == (["cat", "dog", "$5"], [0, 0, 0], [1, 1, 1], 1e-12)
    assert load_weights(tiny(num_classes=7), f"hf:{tmp_path}/hf", new_head=True).classes is None  # another head, other names


def test_a_run_gives_its_facts_on(run, tmp_path):
    from vit_from_scratch.weights import save_weights

    model = load_weights(tiny(image_size=(16, 32), num_classes=2), run)
    assert (list(model.classes), list(model.mean), list(model.std)) == (["a", "b"], [0.5] * 3, [0.3] * 3)
    model.norm.eps = model.arguments["norm_eps"] = 1e-4
    save_weights(model, tmp_path / "w.safetensors")
    again = load_weights(tiny(image_size=(16, 32), num_classes=2), tmp_path / "w.safetensors")
    assert again.norm.eps == 1e-4 == again.arguments["norm_eps"] and list(again.classes) == ["a", "b"]
    prefixed = {f"module._orig_mod.{name}": value for name, value in model.state_dict().items()}
    assert torch.equal(load_weights(tiny(image_size=(16, 32), num_classes=2), prefixed).head.weight, model.head.weight)


def test_frozen_first_then_all_of_it(tmp_path):
    theirs, name = local_timm(tmp_path / "timm")
    two_classes(tmp_path / "p", 12)
    common = ["dataset.name=imagefolder", f"dataset.root={tmp_path / 'p'}", "model.image_size=16", "model.patch_size=8", "model.embed_dim=16", "model.depth=1",
              "model.num_heads=2", "training.small_sizes=none", "training.epochs=2", f"training.runs_dir={tmp_path / 'runs'}", "training.tensorboard=false"]  # fmt: skip
    def train(name, *more):
        words = [word for text in (*common, *more) for word in ("--set", text)]
        code, out, err = vit("train", *words, "--name", name)
        assert code == 0, err
        return max((tmp_path / "runs").glob(f"*-{name}"))

    from vit_from_scratch.checkpoint import load_run

    head = train("head", f"model.init_from={name}", "model.init_freeze=true")
    given, kept = theirs.state_dict(), load_run(head).model.state_dict()
    assert all(torch.equal(kept[n], given[n]) for n in given if not n.startswith("head.")) and kept["head.weight"].shape == (2, 16)
    whole = load_run(train("all", f"model.init_from={head}", "model.init_new_head=false")).model.state_dict()
    assert not any(torch.equal(whole[n], kept[n]) for n in kept if n.endswith("weight"))
    code, out, err = vit("train", "--set", f"training.resume_path={head}/last.pth", "--set", "model.init_freeze=false", "--set", "training.epochs=3")
    assert code == 2 and "model.init_freeze" in err and "start a new run" in err
    code, out, err = vit("train", "--set", "model.init_freeze=true")
    assert code == 2 and "model.init_from is none" in err


# ---------------------------------------------------------------- 9: not square, not RGB


@pytest.mark.parametrize("in_memory", [True, False])
def test_grey_rectangles_from_a_folder(tmp_path, in_memory):
    two_classes(tmp_path)
    how = dict(image_size=(8, 16), channels=1, in_memory=in_memory, num_workers=0)
    for shape in ("crop", "squash", "pad"):
        data = load_data("imagefolder", tmp_path, shape=shape, **how)
        images, labels = next(iter(data.train))
        assert images.shape[1:] == (1, 8, 16) and data.image_size == (8, 16) and data.in_channels == 1 and len(data.mean) == 1
    fit(tiny(image_size=(8, 16), in_channels=1, num_classes=2), data, **QUICK)
    black = data.train.denormalize(images)[..., 0]
    assert black.abs().max() < 1e-6  # padded at the sides: an image of 16 x 16 in 8 x 16


def test_memory_and_stream_read_alike(tmp_path):
    two_classes(tmp_path)
    for shape in ("squash", "pad"):
        sets = [load_data("imagefolder", tmp_path, image_size=(8, 24), shape=shape, in_memory=m, num_workers=0, mean=(0.5,) * 3, std=(0.5,) * 3) for m in (True, False)]
        assert torch.equal(*(next(iter(data.test))[0] for data in sets))


def test_growing_rectangles():
    for shape, side, wanted in (((16, 32), 8, (8, 16)), ((24, 16), 8, (12, 8)), ((16, 16), 8, (8, 8)), ((48, 32), 16, (24, 16))):
        assert shrink(torch.zeros(1, 3, *shape), side, patch_size=4).shape[2:] == wanted
    wide = torch.randn(8, 3, 8, 32)
    fit(tiny(image_size=(8, 32), patch_size=4), [(wide, Y[:8])], epochs=3, **{k: v for k, v in QUICK.items() if k != "epochs"}, small_sizes=(4,))
    assert with_overrides(Config(), ["model.image_size=16,32"]).model.image_size == (16, 32)
    with pytest.raises(ConfigError, match="not divisible by model.patch_size=5"):
        with_overrides(Config(), ["model.image_size=16,32", "model.patch_size=5"])


def test_a_grey_rectangle_from_training_to_export(tmp_path):
    pytest.importorskip("onnxruntime")
    for name, shade in (("a", 60), ("b", 160)):
        pictures(tmp_path / "p" / name, 8, shade=shade, side=20)
    words = ["dataset.name=imagefolder", f"dataset.root={tmp_path / 'p'}", "dataset.channels=1", "dataset.shape=pad", "model.image_size=16,24", "model.patch_size=8",
             "model.embed_dim=16", "model.depth=1", "model.num_heads=2", "training.small_sizes=8", "training.epochs=2", f"training.runs_dir={tmp_path / 'runs'}"]  # fmt: skip
    code, out, err = vit("train", *(word for text in words for word in ("--set", text)))
    assert code == 0 and "of 16 × 24" in out and "could not be drawn" not in err
    (run,) = (tmp_path / "runs").iterdir()
    assert any((run / "figures").iterdir())
    for line, said in ((("evaluate", run, "--set", f"dataset.root={tmp_path / 'p'}"), "test"), (("predict", run, tmp_path / "p/a", "--attention", tmp_path / "a.png"), "attention"), (("export", run, "--onnx", tmp_path / "m.onnx"), "agree"),
                       (("export", run, "--html", tmp_path / "m.html", tmp_path / "p/b/0.png"), "open it")):  # fmt: skip
        code, out, err = vit(*line)
        assert code == 0 and said in out, err
    assert Image.open(tmp_path / "a.png").size[0] > 100


def test_two_channels_and_opacity(tmp_path):
    part = ImageSet(torch.randint(0, 256, (24, 2, 16, 24), dtype=torch.uint8), torch.arange(24) % 2, ("a", "b"), (0.5, 0.4), (0.3, 0.2))
    model = tiny(image_size=(16, 24), in_channels=2, num_classes=2)
    fit(model, part, valid=part, run_dir=tmp_path / "two", **QUICK)
    assert evaluate(model, part).num_images == 24
    pictures(tmp_path / "in", 1)
    code, out, err = vit("predict", tmp_path / "two", tmp_path / "in")
    assert code == 2 and "2 channels" in err
    for name, alpha in (("a", 40), ("b", 220)):
        (tmp_path / "p" / name).mkdir(parents=True)
        for i in range(8):
            Image.new("RGBA", (16, 16), (100, 100 + i, 100, alpha)).save(tmp_path / "p" / name / f"{i}.png")
    data = load_data("imagefolder", tmp_path / "p", image_size=16, channels=4)
    assert data.in_channels == 4 and set(data.train.images[:, 3].unique().tolist()) == {40, 220}  # all that tells the classes apart


@pytest.mark.parametrize("channels, size", [(1, (8, 24)), (3, (24, 8)), (4, (16, 16))])
def test_a_stream_is_augmented_in_any_shape(tmp_path, channels, size):
    from vit_from_scratch.augment import Augment

    two_classes(tmp_path)
    data = load_data("imagefolder", tmp_path, image_size=size, channels=channels, in_memory=False, num_workers=0, mean=(0.5,) * channels, std=(0.5,) * channels)
    full = Augment(crop_padding=2, flip=True, randaugment_ops=1, erasing=0.5, cutmix=1.0, mixup=0.5) if channels == 3 else Augment(crop_padding=2, flip=True, cutmix=1.0, erasing=0.5)
    for part in (data.train, data.train.with_settings(augment=full)):
        images, labels = next(iter(part))
        assert images.shape[1:] == (channels, *size) and images.isfinite().all()


# ---------------------------------------------------------------- 10: text of other people

NAMES = ("R$ 5_$", "<script>alert(1)</script>", 'a, "b"', "{x} %s", "\\alpha & <b>", "${$")


def test_names_in_figures_are_what_they_are():
    from vit_from_scratch import visualize

    model, count = tiny(num_classes=len(NAMES)).eval(), len(NAMES)
    model.classes = NAMES
    figures = [visualize.plot_confusion(torch.eye(count), NAMES), visualize.plot_relevance(model, X[:1], range(count)),
               visualize.plot_predictions((X[:6] > 0).float(), torch.eye(count), torch.arange(count).flip(0), NAMES)]  # fmt: skip
    for figure in figures:
        figure.canvas.draw()
        shown = " ".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))
        assert all(name in shown for name in NAMES)
        assert not any(text.get_parse_math() for text in figure.findobj(lambda artist: hasattr(artist, "get_parse_math")) if "$" in text.get_text())


def test_names_in_a_page_are_no_markup(tmp_path):
    from vit_from_scratch.page import export_html

    model = tiny(num_classes=len(NAMES)).eval()
    model.classes, model.mean, model.std = NAMES, (0.5,) * 3, (0.3,) * 3
    page = export_html(model, (X[:2] > 0).byte() * 255, tmp_path / "page.html", title="</title><script>alert(2)</script>").read_text()
    assert "<script>alert(" not in page and "</title><script>" not in page


def test_names_in_folders_tables_and_lines(tmp_path):
    names = [name for name in NAMES if "/" not in name] + ["=1+1", "[bold]x[/bold]".replace("/", "-"), "Ä ö"]
    for k, name in enumerate(names):
        pictures(tmp_path / "p" / name, 8, shade=20 * k, first=10 * k)
    words = ["dataset.name=imagefolder", f"dataset.root={tmp_path / 'p'}", "model.image_size=16", "model.patch_size=8", "model.embed_dim=16", "model.depth=1", "model.num_heads=2",
             "training.small_sizes=none", "training.epochs=1", f"training.runs_dir={tmp_path / 'runs'}", "training.tensorboard=false"]  # fmt: skip
    code, out, err = vit("train", *(word for text in words for word in ("--set", text)))
    assert code == 0 and "could not be drawn" not in err, err
    (run,) = (tmp_path / "runs").iterdir()
    code, out, err = vit("predict", run, tmp_path / "p" / names[0], "--top", str(len(names)), "--csv", tmp_path / "o.csv", "--json", tmp_path / "o.json")
    assert code == 0 and all(name in out for name in names)
    with open(tmp_path / "o.csv", newline="") as file:
        assert {row["class"] for row in csv.DictReader(file)} == {f"'{name}" if name[0] == "=" else name for name in names}  # nothing a spreadsheet would run
    assert {found["class"] for found in json.loads((tmp_path / "o.json").read_text())[0]["classes"]} == set(names)


# ---------------------------------------------------------------- 11: export


def test_exported_for_any_batch():
    model, images = tiny().eval(), torch.randn(2, 3, 16, 16)
    more = torch.randn(5, 3, 16, 16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, images)
    exported = torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim("b", min=1)},)).module()
    for other in (traced, exported):
        torch.testing.assert_close(other(more), model(more), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("changes", [{}, dict(pool="avg", pos_embed="sincos", num_registers=2), dict(image_size=(16, 32), qk_norm=True, in_channels=1)])
def test_onnx_agrees_with_onnx_runtime(tmp_path, changes):
    for package in ("onnx", "onnxscript"):
        pytest.importorskip(package)
    runtime = pytest.importorskip("onnxruntime")
    model = tiny(**changes).train()
    model.classes, model.mean, model.std = ("a", "b", "c"), (0.5,), (0.25,)
    model.blocks[0].eval()  # frozen, for example
    assert export_onnx(model, tmp_path / "deep" / "m.onnx") < 1e-4 and model.training and not model.blocks[0].training
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(OSError):
        export_onnx(model, tmp_path / "folder.onnx")
    assert model.training and not list(tmp_path.glob("*.tmp*"))
    session = runtime.InferenceSession(str(tmp_path / "deep" / "m.onnx"), providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == ["a", "b", "c"]
    images = torch.randn(7, model.arguments["in_channels"], *model.patch_embed.image_size)
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(session.run(None, {"images": images.numpy()})[0]), model.eval()(images), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("changes", [{}, dict(pool="avg", pos_embed="sincos", num_registers=2), dict(image_size=(16, 32), qk_norm=True, in_channels=1)])
def test_the_older_exporter_agrees_too(tmp_path, changes):
    pytest.importorskip("onnx")
    runtime, model = pytest.importorskip("onnxruntime"), tiny(**changes).eval()
    shape = (model.arguments["in_channels"], *model.patch_embed.image_size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.randn(2, *shape),), tmp_path / "m.onnx", input_names=["images"], output_names=["logits"],
                          dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}}, dynamo=False)  # fmt: skip
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"), providers=["CPUExecutionProvider"])
    for count in (1, 2, 7):
        images = torch.randn(count, *shape)
        with torch.no_grad():
            torch.testing.assert_close(torch.from_numpy(session.run(None, {"images": images.numpy()})[0]), model(images), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("wrap", [lambda m: torch.compile(m, backend="eager"), nn.DataParallel, lambda m: nn.DataParallel(torch.compile(m, backend="eager"))], ids=["compiled", "DataParallel", "both"])
def test_a_run_of_a_wrapped_model_opens(tmp_path, wrap):
    from vit_from_scratch.checkpoint import load_run

    model = tiny()
    fit(wrap(model), loader(), valid=loader(), run_dir=tmp_path / "run", tensorboard=False, algorithm="muon", **QUICK)
    opened = load_run(tmp_path / "run").model
    with torch.no_grad():
        torch.testing.assert_close(opened(X), model.eval()(X))


@pytest.mark.parametrize("changes", [{}, dict(pool="avg", pos_embed="none", num_registers=1), dict(image_size=(16, 24), in_channels=2, qk_norm=True)])
def test_exported_traced_compiled_and_saved(tmp_path, changes):
    model = tiny(**changes).eval()
    shape = (model.arguments["in_channels"], *model.patch_embed.image_size)
    two, more = torch.randn(2, *shape), [torch.randn(count, *shape) for count in (1, 5, 9)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(model, two).save(str(tmp_path / "m.pt"))
        traced = torch.jit.load(str(tmp_path / "m.pt"))
        program = torch.export.export(model, (two,), dynamic_shapes=({0: torch.export.Dim("b", min=1)},))
    torch.export.save(program, tmp_path / "m.pt2")
    compiled = torch.compile(model, backend="aot_eager", dynamic=True)
    for other in (traced, torch.export.load(tmp_path / "m.pt2").module(), compiled):
        for images in more:
            with torch.no_grad():
                torch.testing.assert_close(other(images), model(images), atol=1e-5, rtol=1e-4)


def test_an_export_does_not_disturb_a_model_in_training(tmp_path):
    pytest.importorskip("onnxscript")
    model = tiny(dropout=0.5).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    export_onnx(model, tmp_path / "m.onnx")
    assert model.training and all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    model.pos_embed.requires_grad_(False)
    fit(model, loader(), **QUICK)
    with pytest.raises(ValueError, match="no module named|not installed"):
        import sys

        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(sys.modules, "onnx", None)
            export_onnx(model, tmp_path / "n.onnx")


# ---------------------------------------------------------------- the command line


def test_predict_files_folders_and_lists(tmp_path, run):
    pictures(tmp_path / "in", 5, side=32)
    (tmp_path / "in" / "broken.png").write_bytes(b"no image")
    (tmp_path / "list.txt").write_text("in/0.png\nin/3.png\n")
    code, out, err = vit("predict", run, tmp_path / "in", "--top", "2", "--csv", tmp_path / "o.csv", "--json", tmp_path / "o.json", "--batch-size", "2")
    assert code == 0 and "left out" in err and "broken.png" in err and len(err.splitlines()) == 1
    rows = list(csv.DictReader(open(tmp_path / "o.csv")))
    assert len(rows) == 10 and [row["rank"] for row in rows[:2]] == ["1", "2"] and {row["class"] for row in rows} == {"a", "b"}
    found = json.loads((tmp_path / "o.json").read_text())
    assert len(found) == 5 and all(abs(sum(c["probability"] for c in item["classes"]) - 1) < 1e-5 for item in found)
    for item in found:  # one batch or five, the same answers
        from vit_from_scratch.checkpoint import load_run

        model = load_run(run).model
        pixels = read_images([item["file"]], (16, 32))
        with torch.no_grad():
            wanted = model((pixels / 255 - 0.5) / 0.3).softmax(1)[0]
        best = int(wanted.argmax())
        assert item["classes"][0]["class"] == "ab"[best] and abs(item["classes"][0]["probability"] - float(wanted[best])) < 1e-4
    code, out, err = vit("predict", run, tmp_path / "list.txt", "--top", "1")
    assert code == 0 and [line.split()[0].rsplit("/", 1)[1] for line in out.splitlines()[1:]] == ["0.png", "3.png"]
    (tmp_path / "empty").mkdir()
    for wrong, words in ((tmp_path / "empty", "holds no image"), (tmp_path / "nowhere.png", "cannot be read"), (tmp_path / "in" / "broken.png", "cannot be read")):
        code, out, err = vit("predict", run, wrong)
        assert code == 2 and words in err and not out


def test_evaluate_all_of_a_new_folder(tmp_path, run):
    two_classes(tmp_path / "new", 25)
    two_classes(tmp_path / "only" / "test", 10)
    pictures(tmp_path / "part" / "b", 4, shade=150)
    for folder, count in (("new", 50), ("only", 20), ("part", 4)):
        code, out, err = vit("evaluate", run, "--set", "dataset.name=imagefolder", "--set", f"dataset.root={tmp_path / folder}")
        assert code == 0, err
        assert out.splitlines()[1].split()[:2] == ["all", str(count)]
    pictures(tmp_path / "new" / "zebra", 2)
    code, out, err = vit("evaluate", run, "--set", "dataset.name=imagefolder", "--set", f"dataset.root={tmp_path / 'new'}")
    assert code == 2 and "zebra" in err


def test_export_says_what_it_writes(tmp_path, run):
    code, out, err = vit("export", run)
    assert code == 2 and "--onnx" in err
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package)
    code, out, err = vit("export", run, "--onnx", tmp_path / "m.onnx")
    assert code == 0 and "agree within" in out and (tmp_path / "m.onnx").is_file()


def test_grey_runs_predict(tmp_path):
    part = ImageSet(torch.randint(0, 256, (32, 1, 16, 16), dtype=torch.uint8), torch.arange(32) % 2, ("a", "b"), (0.5,), (0.3,))
    fit(tiny(in_channels=1, num_classes=2), part, valid=part, run_dir=tmp_path / "grey", tensorboard=False, **QUICK)
    pictures(tmp_path / "in", 2)
    code, out, err = vit("predict", tmp_path / "grey", tmp_path / "in")
    assert code == 0 and len(out.splitlines()) == 5


def test_the_share_of_waiting_is_a_share():
    from vit_from_scratch.checkpoint import History
    from vit_from_scratch.cli import describe_result

    rows = [dict(images_per_second=100.0, seconds=10.0, data_seconds=2.5), dict(images_per_second=300.0, seconds=10.0, data_seconds=0.5)]
    assert describe_result(History(rows)).splitlines()[0] == "training: 200 images/s, 15% of the time waiting for images"
    assert "waiting" not in describe_result(History([dict(images_per_second=100.0, seconds=10.0, data_seconds=0.0)]))

    class Slow:  # 4 batches, each 50 ms late
        def __iter__(self):
            import time

            for i in range(4):
                time.sleep(0.05)
                yield X[i * 8 : i * 8 + 8], Y[i * 8 : i * 8 + 8]

        def __len__(self):
            return 4

    row = fit(tiny(), Slow(), valid=loader(), **QUICK).rows[0]
    assert 0.2 <= row["data_seconds"] <= row["seconds"]


def test_rows_of_a_datasets_library(tmp_path, monkeypatch):
    "The ten lines of the workshop's page, with the library itself"
    datasets = pytest.importorskip("datasets")
    from pathlib import Path

    from vit_from_scratch import data

    page = Path(__file__).parents[1] / "nbs" / "workshop" / "datasets.ipynb"
    (lines,) = ("".join(c["source"]) for c in json.loads(page.read_text())["cells"] if "def image_set(" in "".join(c["source"]) and c["cell_type"] == "code")
    names = {"torch": torch, "np": np, "ImageSet": ImageSet, "fit_image": data.fit_image, "measure_mean_std": data.measure_mean_std}
    exec(lines, names)
    for k, name in enumerate(("dark", "light")):
        (tmp_path / "p" / name).mkdir(parents=True)
        for i in range(4):
            Image.new("RGB", (20, 12), (k * 100 + i,) * 3).save(tmp_path / "p" / name / f"{i}.png")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    rows = datasets.load_dataset("imagefolder", data_dir=str(tmp_path / "p"), split="train", cache_dir=str(tmp_path / "cache"))
    part = names["image_set"](rows, (8, 16))
    assert part.classes == ("dark", "light") and part.labels.tolist() == [0] * 4 + [1] * 4
    assert part.images.shape == (8, 3, 8, 16) and part.images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 100, 101, 102, 103]
    fit(tiny(image_size=(8, 16), num_classes=2), part, valid=part, **QUICK)


def test_a_run_of_a_script_says_so(tmp_path):
    for number, data in enumerate((loader(), unequal(8, 8), ImageData("mine", unequal(8, 8), unequal(4, 4), unequal(4, 4)))):
        fit(tiny(num_classes=3 if number == 0 else 2), data, run_dir=tmp_path / f"r{number}", tensorboard=False, **QUICK)
        saved = json.loads((tmp_path / f"r{number}" / "config.json").read_text())
        assert saved["dataset"]["name"] is None and saved["training"]["batch_size"] in (8, 256, 128)
    code, out, err = vit("evaluate", tmp_path / "r1")
    assert code == 2 and "a script gave them to fit" in err and "--set dataset.name=imagefolder" in err
    two_classes(tmp_path / "new")
    code, out, err = vit("evaluate", tmp_path / "r1", "--set", f"dataset.root={tmp_path / 'new'}")
    assert code == 0 and out.splitlines()[1].split()[:2] == ["all", "16"], err
    code, out, err = vit("train", "--set", "dataset.name=none")
    assert code == 2 and "dataset.name=imagefolder" in err
    kept = fit(tiny(num_classes=2), unequal(8, 8), config=with_settings(preset("cifar10"), epochs=1, warmup_epochs=0.1, device="cpu", small_sizes=None, tensorboard=False), run_dir=tmp_path / "c", progress=False)
    assert json.loads((tmp_path / "c" / "config.json").read_text())["dataset"]["name"] == "cifar10" and len(kept.rows) == 1


def test_a_stream_whose_workers_have_no_guard(tmp_path):
    import subprocess
    import sys

    two_classes(tmp_path / "p")
    script = tmp_path / "mine.py"
    script.write_text(f"import multiprocessing\nmultiprocessing.set_start_method('spawn', force=True)\nfrom vit_from_scratch.data import load_data\n"
                      f"for batch in load_data('imagefolder', {str(tmp_path / 'p')!r}, image_size=16, in_memory=False).train: pass\n")  # fmt: skip
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "if __name__ == '__main__'" in done.stderr.splitlines()[-1] and done.stderr.count("Traceback") == 1


def test_the_balance_of_too_few_classes_says_so():
    outputs = nn.Sequential(nn.Flatten(), nn.Linear(768, 5))  # does not say how many classes it has
    with pytest.raises(ValueError, match="found images of the classes 0 to 2 only, but the model has 5: give class_weights one number for each"):
        fit(outputs, loader(), class_weights="balanced", **QUICK)


def test_a_finished_run_that_is_resumed_says_that_nothing_was_trained():
    from vit_from_scratch.checkpoint import History

    rows = [dict(images_per_second=100.0, seconds=10.0, data_seconds=0.0), dict(images_per_second=300.0, seconds=10.0, data_seconds=0.0)]
    first = [cli.describe_result(History(rows), before).splitlines()[0] for before in (0, 1, 2)]
    assert first == ["training: 200 images/s", "training: 300 images/s", "nothing was trained: the run had already reached its last epoch"]


def test_another_models_own_statistics_are_left_alone():
    class Own(nn.Module):
        mean, std = 0.5, None

    model, ours = Own(), tiny()
    ours.mean = (0.1,) * 3
    for some in (model, ours):
        describe_model(some, unequal(4, 4))
    assert model.mean == 0.5 and len(model.std) == 3 and ours.mean == unequal(4, 4).mean


def test_a_model_without_weights_is_evaluated_on_the_cpu():
    class Constant(nn.Module):
        def forward(self, images):
            return torch.tensor([0.0, 1.0, 0.0]).expand(len(images), 3)

    assert evaluate(Constant(), loader()).accuracy == float((Y == 1).float().mean())


def test_home_is_understood_in_paths(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    save_weights(tiny(), "~/kept/m.safetensors")
    assert (tmp_path / "kept" / "m.safetensors").is_file() and load_model("~/kept/m.safetensors").arguments["depth"] == 1
    assert export_html(tiny(), torch.zeros(1, 3, 16, 16), "~/p.html", classes=list("abc"), mean=[0.5] * 3, std=[0.5] * 3) == tmp_path / "p.html"
    fit(tiny(), loader(), run_dir="~/run", tensorboard=False, **QUICK)
    assert read_checkpoint("~/run").position.epoch == 1 and not (tmp_path / "~").exists()


@pytest.mark.parametrize("ask", [lambda file: read_image(file, 8, "stretch"), lambda file: load_data("imagefolder", file.parent, shape="stretch")])
def test_a_way_to_fit_that_there_is_not_is_refused(ask, tmp_path):
    pictures(tmp_path, n=1)
    with pytest.raises(ValueError, match="'stretch': .*'crop', 'squash', 'pad'; choose one of them"):
        ask(tmp_path / "0.png")


def test_labels_are_looked_at_without_decoding_and_not_before_they_are_transformed():
    from vit_from_scratch.batches import check_part, known_labels

    class Folder(torch.utils.data.Dataset):
        targets, target_transform, decoded = [0] * 9 + [1], None, 0

        def __len__(self):
            return 10

        def __getitem__(self, index):
            self.decoded += 1
            return X[0], self.targets[index] if self.target_transform is None else self.target_transform(self.targets[index])

    folder = Folder()
    check_part(DataLoader(folder, batch_size=4), 2)
    assert known_labels(DataLoader(folder)).tolist() == folder.targets and folder.decoded == 0
    folder.target_transform = lambda label: 1 - label
    assert known_labels(DataLoader(folder)) is None
    folder.target_transform = None
    assert known_labels(DataLoader(folder, collate_fn=lambda rows: rows)) is None
    with pytest.raises(ValueError, match="labels run from 0 to 1"):
        check_part(DataLoader(folder, batch_size=4), 1)
    coarse = type("Coarse", (Folder,), {"__getitem__": lambda self, index: (X[0], self.targets[index] // 2)})()
    check_part(DataLoader(coarse, batch_size=4), 1)  # what is served counts, not what is written in it
    with pytest.raises(ValueError, match="validation"):
        folder.target_transform = lambda label: label + 7
        check_part(DataLoader(folder, batch_size=4), 2)
    assert folder.decoded > 0


def test_class_weights_change_the_balance_and_not_the_size_of_the_loss():
    part, silent = loader(), SimpleNamespace()
    shares = Y.bincount(minlength=3).float() / len(Y)
    for given in ("10,10,10", "1,2,4"):
        config = with_settings(Config(), class_weights=given)
        weights, unknown = weigh_classes(config, part, tiny()), weigh_classes(config, silent, tiny())
        assert (weights * shares).sum().item() == pytest.approx(1) and unknown.mean().item() == pytest.approx(1)
    logits = torch.randn(len(Y), 3)
    ours = loss_sum(logits, Y, config.loss, weights) / len(Y)  # of all images at once: torch's weighted mean
    assert ours.item() == pytest.approx(torch.nn.functional.cross_entropy(logits, Y, torch.tensor([1.0, 2, 4])).item(), rel=1e-5)


def test_sizes_of_numpy_and_heads_that_look_at_no_patch():
    from vit_from_scratch.interpret import attention_distance
    from vit_from_scratch.vit import count_parameters

    model = dict(patch_size=8, num_classes=3, embed_dim=16, depth=1, num_heads=2)
    assert count_parameters(image_size=np.int64(16), **model) == count_parameters(image_size=16, **model)
    weights = torch.full((1, 2, 5, 5), 0.2)
    weights[0, 1, 2:] = torch.tensor([1.0, 0, 0, 0, 0])  # three of four patches of one head look at the class token alone
    distance = attention_distance([weights], (2, 2), 8)
    assert torch.isfinite(distance).all() and distance[0, 0] == pytest.approx(distance[0, 1].item())


def test_the_rate_finder_is_for_one_process():
    with pytest.raises(ValueError, match="2 train together: start it without torchrun"):
        RateFinder().on_start(SimpleNamespace(world=World(0, 2)))


def test_small_images_of_a_rectangle_are_counted_as_they_are_shrunk():
    config = with_settings(Config(), patch_size=8, embed_dim=16, depth=1, num_heads=2, epochs=2, small_sizes=(16,), small_share=0.5)
    seconds = estimate(config, 10, (32, 64), 3, 3, "cpu", seconds_per_multiply_add=1.0).seconds_per_epoch
    work = [count_multiply_adds(**model_arguments(config, size, 3, 3)) for size in ((16, 32), (32, 64))]
    assert shrink(torch.zeros(1, 3, 32, 64), 16, 8).shape[2:] == (16, 32) and seconds == 10 * sum(work) / 2


def test_the_playground_takes_rectangles():
    from vit_from_scratch.explore import HyperparameterPlayground, PlaygroundCosts

    part = ImageSet(torch.zeros(12, 3, 16, 32, dtype=torch.uint8), torch.arange(12) % 3, tuple("abc"), (0.5,) * 3, (0.25,) * 3)
    data = ImageData("shapes", part, part, part)
    HyperparameterPlayground(data)
    settings = dict(patch_size=8, embed_dim=16, depth=1, num_heads=2, mlp_ratio=2.0, dropout=0.0, drop_path=0.0, weight_decay=0.0, augmentation="none", lr=1e-3, batch_size=16, epochs=2)
    assert PlaygroundCosts(data).config(settings).training.small_sizes == (8,)


# ---------------------------------------------------------------- what a second breaker found
def noise_folder(root, numbers, size=16):
    for name in "ab":
        (root / name).mkdir(parents=True, exist_ok=True)
        for i in numbers:
            pixels = np.random.default_rng([ord(name), i]).integers(0, 256, (size, size, 3)).astype("uint8")
            Image.fromarray(pixels).save(root / name / f"{i:03d}.png")


def said_by(capsys, *words):
    with pytest.raises(SystemExit) as end:
        cli.main([str(word) for word in words])
    out = capsys.readouterr()
    return end.value.code, out.out + out.err


def test_a_folder_that_changed_is_not_measured_as_if_it_had_not(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noise_folder(tmp_path / "photos", range(20))
    small = ["model.image_size=16", "training.small_sizes=none", "training.epochs=1", "training.tensorboard=false", "model.depth=1", "model.embed_dim=16", "model.num_heads=2"]
    sets = [word for text in ("dataset.name=imagefolder", "dataset.root=photos", *small) for word in ("--set", text)]
    code, _ = said_by(capsys, "train", *sets, "--name", "r")
    run = next((tmp_path / "runs").iterdir())
    assert code == 0
    here = ("--set", "dataset.root=photos")
    code, as_it_was = said_by(capsys, "evaluate", run, *here)
    assert code == 0 and as_it_was.split("\n")[1].split()[:2] == ["test", "4"]
    for text in ("dataset.valid_fraction=0.5", "dataset.split_seed=3"):
        code, told = said_by(capsys, "evaluate", run, *here, "--set", text)
        assert code == 2 and text.split("=")[0] in told and "may now hold images that it was trained on" in told
    for text in ("model.depth=9", "training.epochs=77"):
        code, told = said_by(capsys, "evaluate", run, "--set", text)
        assert code == 2 and "changes nothing here" in told
    (tmp_path / "photos").rename(tmp_path / "pictures")  # the same images, elsewhere: still its own test part
    code, moved = said_by(capsys, "evaluate", run, "--set", "dataset.root=pictures")
    assert code == 0 and "the images of the run itself" in moved and as_it_was in moved
    monkeypatch.chdir(tmp_path / "runs")
    code, elsewhere = said_by(capsys, "evaluate", run, "--set", f"dataset.root={tmp_path / 'pictures'}")
    assert code == 0 and as_it_was in elsewhere
    monkeypatch.chdir(tmp_path)
    noise_folder(tmp_path / "new", range(100, 120))  # as many, but others
    code, new = said_by(capsys, "evaluate", run, "--set", "dataset.root=new")
    assert code == 0 and new.split("\n")[1].split()[:2] == ["all", "40"]
    shutil.copytree(tmp_path / "new", tmp_path / "parts" / "train")
    noise_folder(tmp_path / "parts" / "valid", range(200, 203))
    code, parts = said_by(capsys, "evaluate", run, "--set", "dataset.root=parts", "--part", "valid")
    assert code == 0 and parts.split("\n")[1].split()[:2] == ["valid", "6"]  # files of its own
    (tmp_path / "pictures").rename(tmp_path / "photos")
    noise_folder(tmp_path / "photos", [20])  # one more of each class
    for words in (("evaluate", run, *here), ("evaluate", run, *here, "--part", "valid"), ("export", run, "--html", "page.html")):
        code, told = said_by(capsys, *words)
        assert code == 2 and "may now hold images that it was trained on" in told


def test_a_finished_run_that_is_resumed_keeps_its_settings_and_its_monitor(tmp_path, capsys):
    fit(tiny(), loader(), valid=loader(), run_dir=tmp_path / "r", **QUICK)
    before = (tmp_path / "r" / "config.json").read_bytes()
    fit(tiny(), loader(), valid=loader(), resume=tmp_path / "r", lr=0.5, progress=False)
    assert (tmp_path / "r" / "config.json").read_bytes() == before
    with pytest.raises(ValueError, match="training.monitor=loss: the checkpoint was trained with accuracy"):
        fit(tiny(), loader(), valid=loader(), resume=tmp_path / "r", epochs=9, monitor="loss", progress=False)


def test_a_new_run_writes_over_nothing(tmp_path):
    from vit_from_scratch.checkpoint import OF_A_RUN

    fit(tiny(), loader(), valid=loader(), run_dir=tmp_path / "r", **QUICK | dict(epochs=2))
    assert {path.name for path in (tmp_path / "r").iterdir() if path.is_file() and "tfevents" not in path.name} <= set(OF_A_RUN)
    mine = [*OF_A_RUN, "events.out.tfevents.123.mine", ".notes.tmp"]
    for name in mine:
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text("MINE")
        if name in OF_A_RUN:
            with pytest.raises(ValueError, match="choose another folder"):
                fit(tiny(), loader(), run_dir=folder, **QUICK)
            assert [path.name for path in folder.iterdir()] == [name]
        else:
            fit(tiny(), loader(), run_dir=folder, **QUICK | dict(tensorboard=True))
        assert (folder / name).read_text() == "MINE"


def test_what_callbacks_wrote_for_tensorboard_stays_after_a_resume(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator").EventAccumulator

    def mine(trainer):
        if trainer.event == "epoch":
            trainer.writer.add_scalar("mine/x", 42.0, trainer.step)

    settings = QUICK | dict(tensorboard=True, epochs=2)
    fit(tiny(), loader(), valid=loader(), run_dir=tmp_path / "r", callback=mine, **settings)
    fit(tiny(), loader(), valid=loader(), resume=tmp_path / "r", callback=mine, **settings | dict(epochs=3))
    events = accumulator(str(tmp_path / "r"))
    events.Reload()
    assert [e.step for e in events.Scalars("epoch/valid_accuracy")] == [4, 8, 12]
    theirs = accumulator(str(tmp_path / "r" / "callbacks"))
    theirs.Reload()
    assert [e.step for e in theirs.Scalars("mine/x")] == [4, 8, 12]


def test_outputs_do_not_fall_on_inputs(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.png", "b.png"):
        Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(name)
    (tmp_path / "list.csv").write_text("a.png,note one\nb.png,note two\n")
    (tmp_path / "best.pth").write_text("weights")
    (tmp_path / "notes.csv").write_text("my,own,table\n")
    (tmp_path / "config.json").write_text("{}")
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for words, reason in (
        (("predict", "shapes", "list.csv", "--csv", "list.csv"), "one of the files that are read"),
        (("predict", "shapes", "a.png", "--attention", "a.png"), "one of the files that are read"),
        (("predict", "shapes", ".", "--attention", "b.png"), "one of the files that are read"),
        (("predict", "shapes", "a.png", "--csv", "notes.csv"), "holds something else than predictions"),
        (("predict", "shapes", "a.png", "--attention", "x.foo"), "has to end in .png"),
        (("predict", "shapes", "a.png", "--json", "b.png"), "has to end in .json"),
        (("predict", "shapes", "a.png", "--json", "config.json"), "holds something else than predictions"),
        (("predict", "shapes", "a.png", "--json", "."), "is a folder"),
        (("predict", "shapes", ""), "empty name"),
        (("export", "shapes", "--html", "b.png", "b.png"), "has to end in .html"),
        (("export", "shapes", "--onnx", "best.pth"), "has to end in .onnx"),
        (("export", "shapes", "--onnx", "m.onnx", "--precision", "int8"), "is for the page: the weights of --onnx stay float32"),
    ):
        code, told = said_by(capsys, *words)
        assert code == 2 and reason in told and "Traceback" not in told, told
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept
    for _ in range(2):  # a table of one's own predictions is made anew
        code, told = said_by(capsys, "predict", "shapes", "a.png", "--csv", "deep/out.csv", "--json", "deep/out.json", "--attention", "deep/out.png")
        assert code == 0 and (tmp_path / "deep" / "out.csv").is_file() and (tmp_path / "deep" / "out.png").is_file()


def test_a_speed_run_looks_at_its_folder_first(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("vit_from_scratch.speedrun.run", lambda *_, **__: pytest.fail("it trained"))
    (tmp_path / "speedruns").write_text("mine")
    code, told = said_by(capsys, "speedrun", "--preset", "shapes", "--set", "dataset.limit=256", "--out", tmp_path / "speedruns")
    assert code == 2 and "the record cannot be written into" in told


def test_a_reader_who_leaves_does_not_end_a_run(monkeypatch, capsys):
    def leave(text):
        raise BrokenPipeError

    monkeypatch.setattr(cli.typer, "echo", leave)
    monkeypatch.setattr(cli.sys, "stdout", io.StringIO())
    cli._say("a line")
    assert "nobody reads the output any more" in capsys.readouterr().err


@pytest.mark.parametrize("spoil, words", [
    (lambda s: s | {"pos_embed": s["pos_embed"][0]}, "pos_embed is 5x16 in the source"),
    (lambda s: s | {"head.weight": s["head.weight"] * float("nan")}, "head.weight holds numbers that are not finite"),
    (lambda s: {name: w.to(torch.int8) for name, w in s.items()}, "numbers of the type int8"),
    (lambda s: {name: w.to(torch.complex64) for name, w in s.items()}, "numbers of the type complex64"),
    (lambda s: {1: s["head.weight"]}, "a state dict has names, and this one has 1"),
    (lambda s: {"embeddings.patch_embeddings.projection.weight": s["patch_embed.proj.weight"], "encoder.layer.0.attention.attention.query.weight": torch.zeros(16, 16)}, "queries, keys and values belong together"),
    (lambda s: None, "not from NoneType"),
    (lambda s: tiny(), "not from ViT; give its state_dict()"),
])  # fmt: skip
def test_weights_that_cannot_be_started_from(spoil, words):
    model = tiny()
    before = {name: w.clone() for name, w in model.state_dict().items()}
    with pytest.raises(ValueError) as refusal:
        load_weights(model, spoil(dict(tiny().state_dict())))
    assert words in str(refusal.value)
    assert all(w.equal(before[name]) for name, w in model.state_dict().items())


def test_a_colour_model_without_a_bias_is_refused_in_a_sentence():
    state = {name: w for name, w in tiny().state_dict().items() if name != "patch_embed.proj.bias"}
    with pytest.raises(ValueError, match="patch_embed.proj"):
        load_weights(tiny(in_channels=1), state)


def test_names_lists_and_folders_of_the_working_directory(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shapes").mkdir()  # a folder of data with the name of a model
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save("a,b.png")
    (tmp_path / "l.txt").write_text("a,b.png\n")
    (tmp_path / "l.csv").write_text('file,rank\n"a,b.png",5\n')
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save("g.png")
    (tmp_path / "labels.txt").write_text("g.png,3\n")
    code, told = said_by(capsys, "predict", "shapes", "labels.txt")
    assert code == 0 and "g.png" in told
    for name in ("l.txt", "l.csv"):
        code, told = said_by(capsys, "predict", "shapes", name)
        assert code == 0 and "a,b.png" in told
    (tmp_path / "latin.txt").write_bytes("büro.png\n".encode("latin-1"))
    code, told = said_by(capsys, "predict", "shapes", "latin.txt")
    assert code == 2 and "latin.txt is no text in UTF-8 (byte 2)" in told
    noise_folder(tmp_path / "trains" / "train", [1])
    (tmp_path / "flat" / "train").mkdir(parents=True)
    noise_folder(tmp_path / "flat" / "plane", [1])
    code, told = said_by(capsys, "train", "--set", "dataset.name=imagefolder", "--set", "dataset.root=flat")
    assert code == 2 and "if it is a class, rename it" in told


def test_resuming_from_a_folder_or_without_last_pth(tmp_path, capsys):
    fit(tiny(), loader(), valid=loader(), run_dir=tmp_path / "r", **QUICK | dict(epochs=2))
    code, told = said_by(capsys, "train", "--set", f"training.resume_path={tmp_path / 'r'}")
    assert code == 2 and "is a folder; give the last.pth in it" in told
    (tmp_path / "r" / "last.pth").unlink()
    config = resolve(None, [f"training.resume_path={tmp_path / 'r' / 'last.pth'}"])
    assert config.training.epochs == 2
    with pytest.warns(UserWarning, match="goes on with"):
        history = fit(tiny(), loader(), valid=loader(), resume=tmp_path / "r", epochs=3, progress=False)
    assert [row["epoch"] for row in history.rows] == [1, 2, 3]


def test_best_weights_that_are_gone_on_with_are_kept(tmp_path):
    fit(tiny(), loader(), valid=loader(), run_dir=tmp_path / "r", **QUICK)
    (tmp_path / "r" / "last.pth").unlink()
    before = (tmp_path / "r" / "best.pth").read_bytes()
    fit(tiny(), loader(), valid=loader(), resume=tmp_path / "r" / "best.pth", epochs=4, lr=1e-2, progress=False)
    assert (tmp_path / "r" / "best.pth").read_bytes() != before == (tmp_path / "r" / "best-before.pth").read_bytes()


def test_a_damaged_table_of_the_test_is_left_out(tmp_path):
    from vit_from_scratch.checkpoint import load_run

    fit(tiny(), loader(), valid=loader(), run_dir=tmp_path / "r", **QUICK)
    (tmp_path / "r" / "test.json").write_text("{")
    with pytest.warns(UserWarning, match="test.json is damaged"):
        assert load_run(tmp_path / "r").history.test is None


def test_transparent_palettes_say_nothing(tmp_path):
    picture = Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16) % 4, "P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    picture.save(tmp_path / "p.png", transparency=b"\x00\xff\x80\xff")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.asarray(read_image(tmp_path / "p.png"))[0, :4].tolist() == [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]]
    greys = np.linspace(0, 65535, 16).astype(np.uint16).reshape(4, 4)
    Image.fromarray(greys).save(tmp_path / "plain.png")
    Image.fromarray(greys).save(tmp_path / "clear.png", transparency=0)
    plain, clear = (np.asarray(read_image(tmp_path / f"{name}.png", channels=1)) for name in ("plain", "clear"))
    assert plain.max() == 255 and (plain == clear).all()
