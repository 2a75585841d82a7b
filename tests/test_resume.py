"""Runs that are killed, interrupted, or handed damaged files (`VIT_KILLS` sets how many random kills)."""

import csv
import json
import multiprocessing
import os
import pickle
import random
import resource
import shutil
import signal
import stat
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from vit_from_scratch import callbacks
from vit_from_scratch.checkpoint import FORMAT, Position, load_run, read_checkpoint
from vit_from_scratch.data import SHAPE_CLASSES, ImageData, ImageSet, make_shapes
from vit_from_scratch.train import fit
from vit_from_scratch.vit import ViT

KILLS = int(os.environ.get("VIT_KILLS", 4))
EPOCHS = 6
RECIPE = dict(
    epochs=EPOCHS, batch_size=32, lr=2e-3, algorithm="muon", warmup_epochs=1, ema=0.9, label_smoothing=0.1, log_every=1, crop_padding=2, flip=True,
    tensorboard=False, mixup=0.2, small_sizes=(8,), small_share=0.5, device="cpu", precision="float32",
)  # fmt: skip
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["vit_from_scratch.train", "torchmetrics"])


def small_data(num_train=160, seed=0):
    images, labels, masks = make_shapes(num_train + 64, 16, seed)
    whole = ImageSet(images, labels, SHAPE_CLASSES, (0.5,) * 3, (0.25,) * 3, masks)
    parts = torch.arange(num_train + 64).split([num_train, 32, 32])
    return ImageData("shapes", *(whole.subset(part) for part in parts))


def small_model(depth=2, **arguments):
    torch.manual_seed(0)
    return ViT(16, 4, 3, len(SHAPE_CLASSES), 16, depth, 2, dropout=0.1, drop_path=0.1, **arguments)


def run_in_child(folder, kill_after, save_every, spot):
    "Train, or go on if there is something to go on with; die after some seconds, or at a spot in the code."
    torch.set_num_threads(1)
    callbacks.SAVE_EVERY = save_every
    data, model = small_data(), small_model()
    if kill_after is not None:
        threading.Thread(target=lambda: (time.sleep(kill_after), os.kill(os.getpid(), signal.SIGKILL)), daemon=True).start()
    if spot is not None:
        die_at(*spot)
    again = (folder / "last.pth").exists()
    began = time.perf_counter()
    fit(model, data, progress=False, **({"resume": folder} if again else {"run_dir": folder, **RECIPE}))
    (folder / "seconds").write_text(str(time.perf_counter() - began))


def die_at(place, count):
    "Kill this process at the `count`-th file: half written, written but not yet in place, or just put in place."
    real_replace, real_fsync, seen = os.replace, os.fsync, [0]

    def is_file(handle):
        return not isinstance(handle, int) or stat.S_ISREG(os.fstat(handle).st_mode)

    def die(call, before):
        def wrapped(*arguments):
            if not is_file(arguments[0]):  # a folder is waited for
                return call(*arguments)
            seen[0] += 1
            if seen[0] == count and before:
                if place == "half":
                    os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
                os.kill(os.getpid(), signal.SIGKILL)
            result = call(*arguments)
            if seen[0] == count:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return wrapped

    if place in ("half", "written"):
        os.fsync = die(real_fsync, before=True)
    else:
        os.replace = die(real_replace, before=False)


def launch(folder, kill_after=None, save_every=600.0, spot=None):
    child = processes.Process(target=run_in_child, args=(folder, kill_after, save_every, spot))
    child.start()
    child.join()
    return child.exitcode


def rows(folder):
    "metrics.csv without the columns that measure time."
    with open(folder / "metrics.csv", newline="") as file:
        return [{k: v for k, v in row.items() if "second" not in k} for row in csv.DictReader(file)]


def same(a, b):
    "Equal to the last bit, through dicts, lists and tensors."
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return len(a) == len(b) and all(map(same, a, b)) if isinstance(a, (list, tuple)) else a == b


def assert_same_run(folder, reference):
    for name in ("last", "best"):
        here, there = read_checkpoint(folder, name), read_checkpoint(reference, name)
        for part in ("weights", "average", "optimizers", "position"):
            assert same(getattr(here, part), getattr(there, part)), f"{name}.pth: {part} differ"
        assert here.history.steps == there.history.steps and here.tally.losses == there.tally.losses
        assert here.best.epoch == there.best.epoch
    assert rows(folder) == rows(reference) and [int(r["epoch"]) for r in rows(folder)] == list(range(1, EPOCHS + 1))
    assert (folder / "test.json").read_text() == (reference / "test.json").read_text()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("never stopped") / "run"
    assert launch(folder) == 0
    return folder


def test_killed_at_random_moments(reference, tmp_path):
    "SIGKILL at any moment; the resumed run ends with the same bits as one that was never stopped."
    draw, whole, report = random.Random(), float((reference / "seconds").read_text()), []
    while len(report) < KILLS:
        folder, after = tmp_path / f"run{len(report)}", draw.uniform(0, whole)
        save_every = 0.0 if len(report) % 2 else 600.0  # every second run also saves within epochs
        code = launch(folder, after, save_every)
        if code == 0:  # it was done before the shot fell; draw again
            whole, _ = after, shutil.rmtree(folder)
            continue
        assert code == -signal.SIGKILL
        position = read_checkpoint(folder).position if (folder / "last.pth").exists() else None
        report.append((round(after, 2), position and (position.epoch, position.batch)))
        assert launch(folder, None, save_every) == 0
        assert_same_run(folder, reference)
    print(f"{len(report)} runs were killed; seconds and (epoch, batch) of the checkpoint:", report)


@pytest.mark.parametrize("spot", [("half", 2), ("written", 5), ("placed", 4), ("half", 10), ("placed", 7), ("written", 8)], ids=lambda s: f"{s[0]} file {s[1]}")
def test_killed_while_writing(reference, tmp_path, spot):
    "Killed with a checkpoint half written, not yet in place, or between best.pth and last.pth."
    folder = tmp_path / "run"
    assert launch(folder, spot=spot) == -signal.SIGKILL
    assert launch(folder) == 0
    assert_same_run(folder, reference)


def test_ctrl_c_saves_within_the_epoch(tmp_path):
    "Ctrl-C waits for the step, saves, raises; the run goes on to the same end."

    def press(progress):
        if progress.event == "step" and progress.step == 8:
            os.kill(os.getpid(), signal.SIGINT)

    data, before = small_data(), signal.getsignal(signal.SIGINT)  # ignored, where the tests run in the background
    fit(small_model(), data, run_dir=tmp_path / "a", progress=False, **RECIPE)
    with pytest.raises(KeyboardInterrupt):
        fit(small_model(), data, run_dir=tmp_path / "b", progress=False, callback=press, **RECIPE)
    assert read_checkpoint(tmp_path / "b").position == Position(epoch=1, batch=3, step=8, steps_per_epoch=5)
    fit(small_model(), data, resume=tmp_path / "b", progress=False)
    assert_same_run(tmp_path / "b", tmp_path / "a")
    assert signal.getsignal(signal.SIGINT) is before


def test_plain_loader_goes_on_at_the_last_finished_epoch(tmp_path):
    data = small_data()
    loaders = [torch.utils.data.DataLoader(list(zip(*next(iter(part.with_settings(batch_size=200))), strict=True)), batch_size=32, shuffle=shuffle)
               for part, shuffle in ((data.train, True), (data.valid, False))]  # fmt: skip

    def press(progress):
        if progress.event == "step" and progress.step == 8:
            os.kill(os.getpid(), signal.SIGINT)

    settings = dict(epochs=3, lr=2e-3, progress=False, device="cpu", precision="float32")
    fit(small_model(), *loaders, run_dir=tmp_path / "a", **settings)
    with pytest.raises(KeyboardInterrupt):
        fit(small_model(), *loaders, run_dir=tmp_path / "b", callback=press, **settings)
    assert read_checkpoint(tmp_path / "b").position == Position(epoch=1, batch=0, step=5, steps_per_epoch=5)
    history = fit(small_model(), *loaders, resume=tmp_path / "b", progress=False)
    assert len(history.rows) == 3
    assert same(read_checkpoint(tmp_path / "b").weights, read_checkpoint(tmp_path / "a").weights)


def test_resume_keeps_its_settings_and_refuses_another_run(tmp_path):
    data = small_data()
    short = dict(RECIPE, epochs=2)
    fit(small_model(), data, run_dir=tmp_path / "run", progress=False, **short)
    longer = fit(small_model(), data, resume=tmp_path / "run" / "last.pth", progress=False, epochs=3, lr=1e-4)
    assert [r["epoch"] for r in longer.rows] == [1, 2, 3] and longer.run_dir == tmp_path / "run"
    config = load_run(tmp_path / "run").config
    assert (config.training.epochs, config.optimizer.lr, config.training.batch_size, config.training.ema) == (3, 1e-4, 32, 0.9)
    assert longer.rows[-1]["lr"] < 1e-4 < longer.rows[0]["lr"]
    for model, images, words in [(small_model(3), data, "another architecture: depth=3 (was 2)"),
                                 (small_model(), small_data(128), "other data"), (small_model(), small_data(seed=1), "checksum")]:  # fmt: skip
        with pytest.raises(ValueError, match=words.replace("(", r"\(").replace(")", r"\)")):
            fit(model, images, resume=tmp_path / "run", progress=False, epochs=4)
    with pytest.raises(ValueError, match="already holds a run"):
        fit(small_model(), data, run_dir=tmp_path / "run", progress=False, **short)


class Bomb:
    def __reduce__(self):
        return os.system, (f"touch {os.environ.get('BOMB', '/tmp/bomb')}",)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good") / "run"
    fit(small_model(), small_data(), run_dir=folder, progress=False, **dict(RECIPE, epochs=2, tensorboard=False))
    return folder / "last.pth"


def damaged_files(checkpoint, folder):
    "Name and path of files that are no whole checkpoint."
    whole = checkpoint.read_bytes()
    content = torch.load(checkpoint, weights_only=True)
    for share in (0.0, 0.01, 0.5, 0.99):
        yield f"cut at {share:.0%}", whole[: int(share * len(whole))]
    yield "text", b"hello"
    yield "noise", random.Random(0).randbytes(5000)
    yield "pickle", pickle.dumps(Bomb())
    for name, value in {
        "state dict": content["weights"], "list": [1, 2], "bomb": {"format": FORMAT, "x": Bomb()}, "whole module": small_model(),
        "no weights": {k: v for k, v in content.items() if k != "weights"}, "more": {**content, "more": 1},
        "other kind": {**content, "position": 3}, "empty position": {**content, "position": {}}, "empty history": {**content, "history": "{}"},
        "no settings": {**content, "config": "{}"}, "settings are noise": {**content, "config": "{{"}, "arguments are noise": {**content, "arguments": "{"},
        "another format": {**content, "format": "vit_from_scratch checkpoint 9"}, "empty weights": {**content, "weights": {}, "average": None},
        "empty optimizers": {**content, "optimizers": [{}, {}]}, "empty tally": {**content, "tally": {}},
    }.items():  # fmt: skip
        torch.save(value, folder / "x.pth")
        yield name, (folder / "x.pth").read_bytes()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_foreign_and_hostile_files_are_refused_in_one_sentence(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "last.pth"
    for name, content in damaged_files(checkpoint, tmp_path):
        path.write_bytes(content)
        try:
            fit(small_model(), small_data(), resume=path, progress=False)
        except ValueError as error:
            assert "\n" not in str(error), name
        else:
            raise AssertionError(f"{name} was accepted")
        assert not (tmp_path / "exploded").exists(), name
    for name, content in damaged_files(checkpoint, tmp_path):
        if name in ("no settings", "empty weights", "arguments are noise", "bomb", "cut at 50%"):
            path.write_bytes(content)
            with pytest.raises(ValueError) as error:
                load_run(path)
            assert "\n" not in str(error.value), name


def train_on_a_small_disk(folder, limit):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    torch.set_num_threads(1)
    try:
        fit(small_model(), small_data(), resume=folder, progress=False, epochs=3)
    except OSError as error:
        (folder / "message").write_text(str(error))
        sys.exit(7)


def test_full_disk_stops_with_the_last_checkpoint_intact(checkpoint, tmp_path):
    (tmp_path / "run").mkdir()
    whole = checkpoint.read_bytes()
    (tmp_path / "run" / "last.pth").write_bytes(whole)
    child = processes.Process(target=train_on_a_small_disk, args=(tmp_path / "run", len(whole) // 2))
    child.start()
    child.join()
    message = (tmp_path / "run" / "message").read_text()
    assert child.exitcode == 7 and "could not be written" in message and "\n" not in message
    assert (tmp_path / "run" / "last.pth").read_bytes() == whole and not list((tmp_path / "run").glob("*.tmp"))


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be made"):
        fit(small_model(), small_data(), run_dir=tmp_path / "file" / "run", progress=False, epochs=1)


def test_diverging_run_stops_and_leaves_the_last_good_checkpoint(tmp_path):
    data = small_data()

    def spoil(progress):
        if progress.event == "step" and progress.step == 7:
            next(progress.model.parameters()).data.fill_(float("nan"))

    with pytest.raises(ValueError, match=r"the loss became nan at step 8 \(epoch 2\); most likely at fault: lr=0.002"):
        fit(small_model(), data, run_dir=tmp_path / "run", progress=False, callback=spoil, **RECIPE)
    good = read_checkpoint(tmp_path / "run")
    assert good.position.epoch == 1 and all(torch.isfinite(w).all() for w in good.weights.values())
    assert json.loads(Path(tmp_path / "run" / "config.json").read_text())["optimizer"]["lr"] == 2e-3
