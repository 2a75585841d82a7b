"Data and models as people have them: each gives the right value, or one sentence that helps."

import contextlib
import csv
import io
import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from vit_from_scratch import cli
from vit_from_scratch.batches import BatchCheck
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
from vit_from_scratch.loaders import shrink
from vit_from_scratch.train import evaluate, fit, predict
from vit_from_scratch.vit import ViT
from vit_from_scratch.weights import export_onnx, load_weights

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
    otherwise = {"val": "argument valid", "patience": "stop", "early_stopping": "stop", "class_weights": "WeightedRandomSampler", "criterion": "cross-entropy", "max_steps": "stop"}
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
    assert export_onnx(model, tmp_path / "deep" / "m.onnx") < 1e-4 and model.training
    session = runtime.InferenceSession(str(tmp_path / "deep" / "m.onnx"), providers=["CPUExecutionProvider"])
    assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == ["a", "b", "c"]
    images = torch.randn(7, model.arguments["in_channels"], *model.patch_embed.image_size)
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(session.run(None, {"images": images.numpy()})[0]), model.eval()(images), atol=1e-4, rtol=1e-3)


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


def test_a_stream_whose_workers_have_no_guard(tmp_path):
    import subprocess
    import sys

    two_classes(tmp_path / "p")
    script = tmp_path / "mine.py"
    script.write_text(f"import multiprocessing\nmultiprocessing.set_start_method('spawn', force=True)\nfrom vit_from_scratch.data import load_data\n"
                      f"for batch in load_data('imagefolder', {str(tmp_path / 'p')!r}, image_size=16, in_memory=False).train: pass\n")  # fmt: skip
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "if __name__ == '__main__'" in done.stderr.splitlines()[-1] and done.stderr.count("Traceback") == 1
