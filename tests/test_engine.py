"""What a run leaves on disk holds: hostile files, failing disks, power cuts, two owners, two processes, runs of the version before."""

import builtins
import csv
import itertools
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import hostile
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from vit_from_scratch import callbacks, hardware, loaders, train
from vit_from_scratch.batches import BatchCheck, read_batch
from vit_from_scratch.checkpoint import Position, RunFolder, load_run, read_checkpoint, read_newest
from vit_from_scratch.cli import write_predictions
from vit_from_scratch.config import Config
from vit_from_scratch.data import SHAPE_CLASSES, ImageData, ImageSet, make_shapes
from vit_from_scratch.run import Figures, choose_folder, local_settings, make_model, with_settings
from vit_from_scratch.train import Trainer, evaluate, fit
from vit_from_scratch.vit import ViT

OLD = Path(__file__).parent / "old_run"
SHORT = dict(epochs=2, batch_size=32, tensorboard=False, device="cpu", precision="float32", progress=False)
processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(["vit_from_scratch.train", "torchmetrics"])


def test_hostile_files_are_refused_in_one_sentence(tmp_path, monkeypatch):
    "A small share of what tests/hostile.py tries."
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    run, tried = tmp_path / "run", 0
    run.mkdir()
    for name, content in hostile.hostile_files(tmp_path, int(os.environ.get("VIT_HOSTILE", 60))):
        (run / "last.pth").write_bytes(content)
        for action in (lambda: load_run(run / "last.pth"), lambda: fit(hostile.small_model(), hostile.small_data(), resume=run, progress=False)):
            try:
                action()
            except ValueError as error:
                assert "\n" not in str(error) and "weights_only" not in str(error), name
            else:
                raise AssertionError(f"{name} was accepted")
        assert [p.name for p in run.iterdir()] == ["last.pth"] and not (tmp_path / "exploded").exists(), name
        tried += 1
    assert tried > 30


# ---------------------------------------------------------------- disks
def failing(monkeypatch, at: int) -> list[int]:
    "The `at`-th call that writes, waits for the disk, renames or makes a folder fails."
    calls = [0]

    def fails(call):
        def wrapped(*arguments, **named):
            calls[0] += 1
            if calls[0] == at:
                raise OSError(28, "No space left on device")
            return call(*arguments, **named)

        return wrapped

    class File:
        def __init__(self, file):
            self.file, self.write = file, fails(file.write)

        def __enter__(self):
            self.file.__enter__()
            return self

        def __exit__(self, *error):
            return self.file.__exit__(*error)

        def __getattr__(self, name):
            return getattr(self.file, name)

    real = builtins.open
    monkeypatch.setattr(builtins, "open", lambda path, mode="r", *a, **k: File(real(path, mode, *a, **k)) if "x" in mode else real(path, mode, *a, **k))
    for name in ("fsync", "replace", "mkdir"):
        monkeypatch.setattr(os, name, fails(getattr(os, name)))
    return calls


KINDS_OF_RUN = {"adamw": {}, "muon": dict(algorithm="muon", ema=0.9), "sgd": dict(algorithm="sgd", lr=0.05), "four epochs": dict(epochs=4), "figures": {},
                "growing": dict(small_sizes=(8,), small_share=0.5, epochs=3), "by loss": dict(monitor="loss", epochs=3)}  # fmt: skip


@pytest.mark.filterwarnings("ignore:the figures of the run")
@pytest.mark.parametrize("kind", KINDS_OF_RUN)
def test_a_failing_disk_leaves_the_last_good_checkpoint(tmp_path, monkeypatch, kind):
    "An error at every n-th call (VIT_FAULTS_STEP=1: at every one): one sentence, what was saved before is whole, and nothing is left beside it."
    monkeypatch.setattr("vit_from_scratch.visualize.data_figures", lambda model, data: {"small": Figure(figsize=(1, 1))})
    monkeypatch.setattr("vit_from_scratch.visualize.model_figures", lambda model, images: {})
    known: dict[int, int] = {}
    data, settings, drawn = hostile.small_data(), SHORT | KINDS_OF_RUN[kind], [Figures()] if kind == "figures" else []
    fit(hostile.small_model(), data, run_dir=tmp_path / "whole", callbacks=drawn, **settings)
    faults = 0
    step = int(os.environ.get("VIT_FAULTS_STEP", 13))
    for at in itertools.count(1 + 2 * list(KINDS_OF_RUN).index(kind) % step, step):
        folder, stopped = tmp_path / f"run{at}", False
        with pytest.MonkeyPatch.context() as patch:
            calls = failing(patch, at)
            try:
                fit(hostile.small_model(), data, run_dir=folder, callbacks=drawn, **settings)
                if calls[0] < at:
                    break  # there were not so many calls
            except OSError as error:
                assert "\n" not in str(error) and ("could not be written" in str(error) or "cannot be made" in str(error)), str(error)
                stopped = True
        faults += 1
        assert calls[0] >= at and not list(folder.glob("**/*.tmp")) and not list(folder.glob("**/.*.tmp"))
        assert stopped or (folder / "test.json").exists()  # a figure, or the second name of a checkpoint, is worth no run
        if (folder / "last.pth").exists():
            found = read_checkpoint(folder).position.epoch
            known[found] = known.get(found, 0) + 1
            fit(hostile.small_model(), data, resume=folder, callbacks=drawn, progress=False)
            assert torch.equal(*(read_checkpoint(f).weights["head.weight"] for f in (folder, tmp_path / "whole")))
            assert {p.name for p in folder.iterdir()} == {p.name for p in (tmp_path / "whole").iterdir()}
    print(f"{kind}: {faults} calls failed; epochs of the checkpoint that was left: {known}")
    assert len(known) > 1, known


def test_a_power_cut_loses_nothing_that_was_announced(tmp_path, monkeypatch):
    "Files and names go back to what was waited for; after every save the checkpoint of that save must be there."
    disk: dict[str, bytes] = {}  # what a cut leaves: content by name, as of the last time that the folder was waited for
    synced: dict[int, bytes] = {}  # content by inode, as of the last time that the file was waited for
    real, folder, seen = os.fsync, tmp_path / "runs" / "run", []

    def fsync(handle):
        real(handle)
        path = Path(os.readlink(f"/proc/self/fd/{handle}"))
        if path.is_dir() and path == folder:
            disk.clear()
            disk.update({p.name: synced.get(p.stat().st_ino, b"") for p in folder.iterdir() if p.is_file()})
        elif path.is_dir() and path == folder.parent:
            disk.setdefault("", b"")  # the run folder itself is known
        elif path.is_file():
            synced[path.stat().st_ino] = path.read_bytes()

    def cut(trainer):
        if trainer.event in ("start", "epoch"):
            after = tmp_path / f"after{len(seen)}"
            after.mkdir()
            for name, content in disk.items():
                if name:
                    (after / name).write_bytes(content)
            seen.append((trainer.epoch, read_newest(after / "last.pth")[0].position.epoch))
            if trainer.is_best:
                assert read_checkpoint(after / "best.pth").position.epoch == trainer.epoch

    monkeypatch.setattr(os, "fsync", fsync)
    fit(hostile.small_model(), hostile.small_data(), run_dir=folder, callbacks=cut, **dict(SHORT, epochs=4))
    assert seen == [(epoch, epoch) for epoch in range(5)]


def test_one_damaged_file_does_not_end_a_run(tmp_path):
    data = hostile.small_data()
    fit(hostile.small_model(), data, run_dir=tmp_path / "run", **SHORT)
    last = tmp_path / "run" / "last.pth"
    last.write_bytes(last.read_bytes()[:-1000])
    with pytest.warns(UserWarning, match="goes on with"):
        history = fit(hostile.small_model(), data, resume=tmp_path / "run", progress=False, epochs=3)
    assert [row["epoch"] for row in history.rows] == [1, 2, 3]
    (tmp_path / "run" / "best.pth").write_bytes((OLD / "best.pth").read_bytes())  # another run's
    with pytest.warns(UserWarning, match="not the one that this run wrote"):
        history = fit(hostile.small_model(), data, resume=tmp_path / "run", progress=False, epochs=4)
    assert history.best["epoch"] == 4  # of those whose weights are known


# ---------------------------------------------------------------- owners, signals, requeue
def test_a_run_folder_has_one_owner(tmp_path):
    data, refused = hostile.small_data(), []

    def intrude(trainer):
        if trainer.event == "epoch" and trainer.epoch == 1:
            with pytest.raises(ValueError, match="is being trained by another process") as error:
                fit(hostile.small_model(), data, resume=tmp_path / "run", progress=False)
            refused.append(str(error.value))

    fit(hostile.small_model(), data, run_dir=tmp_path / "run", callbacks=intrude, **SHORT)
    assert len(refused) == 1 and "\n" not in refused[0]
    fit(hostile.small_model(), data, resume=tmp_path / "run", progress=False, epochs=3)  # it is free again


@pytest.mark.filterwarnings("ignore:.*fork")
def test_workers_do_not_hold_the_folder_of_a_run_that_was_killed(tmp_path):
    "A forked worker of a `DataLoader` lives some seconds longer; the run can be resumed at once."
    held, (reads, writes) = RunFolder(tmp_path / "run"), os.pipe()
    worker = os.fork()
    if worker == 0:
        os.write(writes, b"x")
        time.sleep(60)
        os._exit(0)
    os.read(reads, 1)
    with pytest.raises(ValueError, match="is being trained by another process"):
        RunFolder(tmp_path / "run")
    held.close()  # as the kernel does it for the one that was killed
    try:
        RunFolder(tmp_path / "run").close()
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_schedulers_signals_save_and_the_same_command_goes_on(tmp_path, name):
    data, before = hostile.small_data(), signal.getsignal(getattr(signal, name))
    config = with_settings(local_settings(load_run(OLD).config), runs_dir=str(tmp_path), resume="auto", tensorboard=False, device="cpu",
                           epochs=3, batch_size=32, precision="float32", log_every=1)  # fmt: skip

    def send(trainer):
        if trainer.event == "step" and trainer.step == 3:
            os.kill(os.getpid(), getattr(signal, name))

    chosen, folder = choose_folder(config, "job")
    with pytest.raises(KeyboardInterrupt):
        fit(hostile.small_model(), data, config=chosen, run_dir=folder, callbacks=send, progress=False)
    assert read_checkpoint(folder).position == Position(epoch=1, batch=1, step=3, steps_per_epoch=2)
    again, same = choose_folder(config, "job")
    assert same == folder and again.training.resume_path == str(folder / "last.pth")
    assert len(fit(hostile.small_model(), data, config=again, progress=False).rows) == 3
    assert signal.getsignal(getattr(signal, name)) is before


# ---------------------------------------------------------------- the version before, and strange models
def test_a_run_of_the_version_before_opens_is_evaluated_and_goes_on(tmp_path):
    images = torch.randint(0, 256, (48, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    whole = ImageSet(images, torch.arange(48) % 2, ("even", "odd"), (0.5,) * 3, (0.25,) * 3)
    data = ImageData("shapes", *(whole.subset(part) for part in torch.arange(48).split([32, 8, 8])))
    run = load_run(OLD)
    assert evaluate(run.model, data.test).accuracy == run.history.test.accuracy and len(run.history.rows) == 2
    shutil.copytree(OLD, tmp_path / "run")
    model = ViT(8, 4, 3, 2, 8, 1, 2)
    history = fit(model, data, resume=tmp_path / "run", epochs=3, device="cpu", precision="float32", progress=False)
    assert [row["epoch"] for row in history.rows] == [1, 2, 3] and read_checkpoint(tmp_path / "run").format.endswith("2")


class Buffered(torch.nn.Module):
    "A model that has buffers called mean and std, and no arguments."

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3)), self.register_buffer("std", torch.ones(3))
        self.head = torch.nn.Linear(3 * 16 * 16, 10)

    def forward(self, images):
        return self.head(((images - self.mean.view(3, 1, 1)) / self.std.view(3, 1, 1)).flatten(1))


def test_strange_models_and_loaders(tmp_path):
    data = hostile.small_data()
    fit(Buffered(), data, run_dir=tmp_path / "buffered", **SHORT)
    fit(Buffered(), data, resume=tmp_path / "buffered", epochs=3, progress=False)
    batches = list(data.train.with_settings(batch_size=16))

    class Counting(list):
        epoch = 0  # as some loaders count

    history = fit(hostile.small_model(), Counting(batches), run_dir=tmp_path / "loader", **{k: v for k, v in SHORT.items() if k != "batch_size"})
    assert len(history.rows) == 2 and json.loads((tmp_path / "loader" / "config.json").read_text())["training"]["batch_size"] == 16
    with pytest.raises(ValueError, match="one epoch only"):
        fit(hostile.small_model(), batches, valid=iter(batches), progress=False)
    with pytest.raises(ValueError, match="validation: there are no images"):
        fit(hostile.small_model(), data, valid=[], progress=False)
    with pytest.raises(ValueError, match="nothing to train"):
        fit(hostile.small_model().requires_grad_(False), data, progress=False)
    model = hostile.small_model()
    model.patch_embed.any_size = True
    fit(model, data, **dict(SHORT, small_sizes=(8,)))
    assert model.patch_embed.any_size is True  # as it was set


def test_numbers_of_numpy_compiled_models_frozen_parts_and_equal_metrics(tmp_path, capsys):
    data, whole = hostile.small_data(), np.int64
    model = ViT(whole(16), whole(4), 3, whole(10), np.int32(16), whole(2), whole(2), dropout=np.float64(0.1))
    model.classes = ("\x1b[31mred", *SHAPE_CLASSES[1:])
    fit(model, data, run_dir=tmp_path / "numpy", **SHORT | dict(epochs=whole(2), batch_size=whole(32), lr=np.float32(1e-3), seed=whole(1), progress=True))
    lines = capsys.readouterr().err.splitlines()  # there is no terminal: one line per epoch
    assert [line.split(":")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"] and all(map(str.isprintable, lines))
    assert len(fit(model, data, resume=tmp_path / "numpy", epochs=3, progress=False).rows) == 3
    assert load_run(tmp_path / "numpy").model.arguments["depth"] == 2
    fit(torch.compile(hostile.small_model(), backend="eager"), data, run_dir=tmp_path / "compiled", **SHORT)
    run = load_run(tmp_path / "compiled")
    assert evaluate(run.model, data.valid).loss == run.history.best["valid_loss"]
    assert evaluate(run.model, data.valid) == evaluate(run.model, data.valid) != evaluate(hostile.small_model(), data.valid)
    partly = hostile.small_model().requires_grad_(False)
    partly.head.requires_grad_(True)
    before = partly.blocks[0].attn.qkv.weight.clone()
    fit(partly, data, run_dir=tmp_path / "partly", **SHORT)
    assert len(fit(partly, data, resume=tmp_path / "partly", epochs=3, progress=False).rows) == 3 and torch.equal(partly.blocks[0].attn.qkv.weight, before)


def test_every_part_that_changes_is_saved():
    "After a step, whatever differs in a trainer is in its state."
    trainer = Trainer(hostile.small_model(), hostile.small_data(), config=with_settings(load_run(OLD).config, device="cpu", batch_size=32, small_sizes=None))
    before = {name: repr(value) for name, value in vars(trainer).items() if isinstance(value, (int, float, str, list, dict))}
    trainer.train_step(next(trainer.remaining_batches(0)))
    changed = {name for name, value in vars(trainer).items() if name in before and repr(value) != before[name]}
    assert changed <= {"lr", "unread", "optimizers"}, changed  # the rate follows from the step; unread losses are read before a save
    assert set(trainer.parts) == {"weights", "average", "optimizers", "scaler", "position", "tally", "history", "loader"}


def test_changed_images_are_noticed(tmp_path):
    data = hostile.small_data()
    fit(hostile.small_model(), data, run_dir=tmp_path / "run", **SHORT)
    for part in ("train", "valid", "test"):
        for number in (0, 7, 15):
            images = getattr(data, part).images.clone()
            images[number] = 255 - images[number]
            parts = {p: getattr(data, p) for p in ("train", "valid", "test")} | {part: getattr(data, part).with_settings(images=images)}
            with pytest.raises(ValueError, match=f"other data.*{part}: checksum"):
                fit(hostile.small_model(), ImageData("shapes", **parts), resume=tmp_path / "run", epochs=3, progress=False)


# ---------------------------------------------------------------- two processes
def train_two(folder: Path, stop_at: int | None, rank: int, port: int, die: bool = False) -> None:
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    images, labels, _ = make_shapes(160, 16, 0)
    whole = ImageSet(images, labels, SHAPE_CLASSES, (0.5,) * 3, (0.25,) * 3)
    data = ImageData("shapes", *(whole.subset(part) for part in torch.arange(160).split([127, 17, 16])))  # the last batches are uneven
    torch.manual_seed(0)
    model = ViT(16, 4, 3, 10, 16, 2, 2, dropout=0.1, drop_path=0.1)

    def stop(trainer):
        if trainer.event == "step" and trainer.step == stop_at:
            if die:
                os.kill(os.getpid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGTERM)

    settings = dict(SHORT, batch_size=8, epochs=3, log_every=1, algorithm="muon", ema=0.9, mixup=0.2)
    how = dict(resume=folder, progress=False) if (folder / "last.pth").exists() else dict(run_dir=folder, **settings)
    callbacks.SAVE_EVERY = 0.0
    try:
        fit(model, data, callbacks=[stop], **how)
    except KeyboardInterrupt:
        os._exit(130)


def launch_two(folder: Path, stop_at: int | None, die: bool = False, patience: float = 400) -> list[int]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [processes.Process(target=train_two, args=(folder, stop_at, rank, port, die)) for rank in (0, 1)]
    for child in children:
        child.start()
    until = time.monotonic() + patience
    for child in children:
        child.join(max(0.1, until - time.monotonic()))
    hung = [child.is_alive() for child in children]
    for child in children:
        child.kill()
    assert not any(hung), "a process waits for ever"
    return [child.exitcode for child in children]


def test_two_processes_with_dropout_interrupted_and_resumed_equal_uninterrupted(tmp_path):
    assert launch_two(tmp_path / "whole", None) == [0, 0]
    whole = read_checkpoint(tmp_path / "whole")
    for step in map(int, os.environ.get("VIT_STEPS", "11").split(",")):
        folder = tmp_path / f"stopped at {step}"
        assert launch_two(folder, step) == [130, 130]
        assert read_checkpoint(folder).position.step == step
        assert launch_two(folder, None) == [0, 0]
        again = read_checkpoint(folder)
        assert all(torch.equal(again.weights[name], w) for name, w in whole.weights.items())
        assert again.history.steps == whole.history.steps
        rows = [[{k: v for k, v in row.items() if "second" not in k} for row in content.history.rows] for content in (again, whole)]
        assert rows[0] == rows[1]


def test_nobody_waits_for_a_killed_process(tmp_path):
    codes = launch_two(tmp_path / "run", 5, die=True)
    assert codes[0] == -signal.SIGKILL and codes[1] not in (0, None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read_newest(tmp_path / "run" / "last.pth")[0].position.step >= 4


# ---------------------------------------------------------------- figures, tables, this processor
FIGURES = ("plot_history", "plot_confusion", "plot_predictions", "attention_maps", "plot_cls_attention", "plot_attention_wall", "plot_rollout", "plot_relevance",
           "plot_attention_distance", "plot_logit_lens", "plot_filters", "plot_pos_similarity", "plot_pos_norms")  # fmt: skip


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_that_fails_is_a_warning(tmp_path, monkeypatch, name):
    "Whichever it is, the run ends as it would have ended: tested, saved, and with a sentence about the figure."

    def fails(*arguments, **named):
        raise RuntimeError("no such font")

    for other in FIGURES:  # the real ones take their time
        monkeypatch.setattr(f"vit_from_scratch.visualize.{other}", fails if other == name else lambda *a, **k: Figure())
    with pytest.warns(UserWarning, match="figures of the run could not be drawn: RuntimeError: no such font"):
        history = fit(hostile.small_model(), hostile.small_data(), run_dir=tmp_path / "run", callbacks=Figures(), **dict(SHORT, epochs=1))
    assert history.test is not None and (tmp_path / "run" / "test.json").exists() and read_checkpoint(tmp_path / "run").position.epoch == 1
    kept = {path.stem for path in (tmp_path / "run" / "figures").iterdir()}  # what was drawn before it
    assert kept == {"plot_history": set(), "plot_confusion": {"history"}, "plot_predictions": {"history"}}.get(name, {"history", "confusion", "predictions"})


def test_figures_of_strange_names_and_of_two_channels(tmp_path):
    "A `$` opens a formula in matplotlib, a new line breaks a label, and two channels are no picture that can be shown."
    images, labels, _ = make_shapes(96, 16, 0)
    for number, (pixels, names) in enumerate([(images, ("$", "$x^{$", "a\nb", "\x1b[31m", *SHAPE_CLASSES[4:])), (images[:, :2], SHAPE_CLASSES)]):
        channels = pixels.shape[1]
        whole = ImageSet(pixels, labels, names, (0.5,) * channels, (0.25,) * channels)
        data = ImageData("shapes", *(whole.subset(part) for part in torch.arange(96).split([64, 16, 16])))
        folder = tmp_path / str(number)
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            history = fit(ViT(16, 4, channels, 10, 16, 2, 2), data, run_dir=folder, callbacks=Figures(), **dict(SHORT, epochs=1))
        assert history.test is not None and len(read_checkpoint(folder).history.rows) == 1
        assert (folder / "figures").is_dir() or any("could not be drawn" in str(w.message) for w in seen)


def test_tables_run_nothing_in_a_spreadsheet(tmp_path):
    "metrics.csv holds numbers alone; predictions hold names of files and classes."
    fit(hostile.small_model(), hostile.small_data(), run_dir=tmp_path / "run", **SHORT)
    rows = list(csv.reader((tmp_path / "run" / "metrics.csv").open()))
    assert rows[0] == list(callbacks.COLUMNS) and all(float(cell) is not None for row in rows[1:] for cell in row if cell)
    names = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "cat", "a=b", "", "'=1"]
    write_predictions([(f"{name}.png", name, 0.5) for name in names], 1, tmp_path / "p.csv", tmp_path / "p.json")
    table = list(csv.reader((tmp_path / "p.csv").open(newline="")))[1:]
    assert not [cell for row in table for cell in (row[0], row[2]) if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert [row[2].removeprefix("'") if name[:1] in "=+-@\t\r" else row[2] for row, name in zip(table, names, strict=True)] == names
    assert [found["classes"][0]["class"] for found in json.loads((tmp_path / "p.json").read_text())] == names  # for programs: as they are


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_the_processors_answer_can_be_forced_in_every_process_of_a_test_run(answer):
    "What `make test BFLOAT16=yes` rests on."
    code = "import torch; from vit_from_scratch.hardware import cpu_has_amx, pick_precision; print(pick_precision('auto', torch.device('cpu')), cpu_has_amx())"
    environment = {**os.environ, "BFLOAT16": answer, "PYTHONPATH": os.pathsep.join([str(OLD.parent / "forced"), str(OLD.parent.parent)])}
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True).stdout.split()
    assert found == (["torch.bfloat16", "True"] if answer == "yes" else ["torch.float32", "False"])


class Spread(torch.nn.Module):
    "Stands for the wrapper that shares gradients between processes"

    def __init__(self, module, device_ids):
        super().__init__()
        self.module = module


def test_compiled_and_parallel_models_are_shared_between_processes(monkeypatch):
    monkeypatch.setattr(torch.nn.parallel, "DistributedDataParallel", Spread)
    plain, cpu = torch.nn.Linear(2, 2), torch.device("cpu")
    for given in (torch.compile(plain, backend="eager"), torch.nn.DataParallel(plain), plain):
        assert hardware.wrap(given, hardware.World(), cpu) is given  # alone it stays as it came
        shared = hardware.wrap(given, hardware.World(0, 2), cpu)
        assert hasattr(shared, "_orig_mod") == hasattr(given, "_orig_mod")  # compiled again
        shared = getattr(shared, "_orig_mod", shared)
        assert type(shared) is Spread and shared.module is plain


class Told(torch.Tensor):
    "Says whether somebody waited for its copy"

    def to(self, device, non_blocking):
        return non_blocking


@pytest.mark.parametrize("kind, waits", [("cuda", False), ("mps", True), ("cpu", True)])
def test_only_cuda_copies_while_others_work(kind, waits):
    check = BatchCheck()
    check.counts = SimpleNamespace(device=torch.device(kind))  # a device that need not be there
    batch = torch.rand(2, 3, 4, 4).as_subclass(Told), torch.tensor([0, 1]).as_subclass(Told)
    assert check.take(batch) == (not waits, not waits)


def test_shares_in_double_precision_become_floats():
    assert read_batch((torch.rand(1, 3, 2, 2), torch.tensor([[0.25, 0.75]]).double()))[1].dtype == torch.float32


def test_steps_of_other_models_are_not_recorded(monkeypatch):
    monkeypatch.setattr(train, "record_steps", lambda trainer, step: "recorded")
    batches = [(torch.rand(4, 3, 16, 16), torch.arange(4))]
    config = with_settings(Config(), device="cpu", precision="float32", epochs=1)
    other = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 10))
    assert train.Trainer(other, batches, config=config).recorded is None
    trainer = train.Trainer(hostile.small_model(), batches, config=config)
    assert trainer.recorded == "recorded"
    trainer.finish()
    assert trainer.recorded is None  # its memory is given back


def test_data_for_one_epoch_are_refused_in_a_sentence():
    source = iter([(torch.rand(4, 3, 16, 16), torch.arange(4))] * 2)

    class Once(torch.utils.data.IterableDataset):
        def __iter__(self):
            return source

    once = torch.utils.data.DataLoader(Once(), batch_size=None)
    with pytest.raises(ValueError, match="only once, and were; give fit data that begins anew"):
        fit(hostile.small_model(), once, epochs=1, device="cpu", precision="float32", progress=False)


def test_a_process_without_batches_takes_an_empty_one_of_any_kind():
    batch = {"pixel_values": torch.rand(4, 3, 2, 2), "labels": torch.arange(4)}
    (images, labels), = loaders.Share([batch], hardware.World(1, 2))
    assert images.shape == (0, 3, 2, 2) and labels.shape == (0,)


def test_an_old_test_does_not_outlive_a_resume(tmp_path):
    data, short = hostile.small_data(), dict(SHORT, epochs=1)
    fit(hostile.small_model(), data, run_dir=tmp_path, **short)
    assert load_run(tmp_path).history.test is not None

    def stop(trainer):
        if trainer.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(hostile.small_model(), data, resume=tmp_path, epochs=4, progress=False, callbacks=stop)
    assert len(load_run(tmp_path).history.rows) == 2 and load_run(tmp_path).history.test is None
    with pytest.raises(ValueError, match="which='Best': .* 'best'.* 'last'.*choose one"):
        load_run(tmp_path, "Best")


def test_a_pair_of_equal_sides_fits_square_data():
    data = hostile.small_data()
    assert make_model(with_settings(Config(), image_size=(16, 16), patch_size=4), data).patch_embed.image_size == (16, 16)
    with pytest.raises(ValueError, match="does not fit the data, which has image_size=16"):
        make_model(with_settings(Config(), image_size=(16, 32), patch_size=4), data)


# ---------------------------------------------------------------- models and settings of others
OTHERS = {name: value for name, value in SHORT.items() if name != "batch_size"}  # lists of batches bring their own


@pytest.mark.parametrize("kind", ["tied", "complex"])
def test_checkpoints_of_tied_and_complex_models_are_read_back(tmp_path, kind):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            shared = torch.nn.Linear(48, 48)
            self.layers = torch.nn.Sequential(*([shared] * 12 if kind == "tied" else [shared]), torch.nn.Linear(48, 3))
            self.register_buffer("turns", torch.ones(2, dtype=torch.complex64 if kind == "complex" else torch.float32))

        def forward(self, x):
            return self.layers(x.flatten(1))

    data = [(torch.randn(8, 3, 4, 4), torch.arange(8) % 3)] * 2
    fit(Net(), data, run_dir=tmp_path, **OTHERS | dict(epochs=1))
    history = fit(Net(), data, resume=tmp_path, **OTHERS)
    assert [row["epoch"] for row in history.rows] == [1, 2]


@pytest.mark.parametrize("bad", [torch.inf, torch.nan])
@pytest.mark.parametrize("clip", [1.0, None])
def test_where_one_optimizer_overflows_in_float16_none_moves(bad, clip):
    model = ViT(16, 4, 3, 10, 16, 1, 2)
    config = Config(optimizer=dict(algorithm="muon"), training=dict(grad_clip=clip))
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    trainer = SimpleNamespace(model=model, config=config, scaler=scaler, optimizers=train.make_optimizer(config, model), recorded=None)
    scaler.scale(model(torch.randn(4, 3, 16, 16)).square().mean()).backward()
    model.head.weight.grad[0, 0] = bad  # AdamW's; Muon's are finite
    before = {name: w.clone() for name, w in model.state_dict().items()}
    train.move_weights(trainer)
    assert all(w.equal(before[name]) for name, w in model.state_dict().items()) and scaler.get_scale() == 2.0
    scaler.scale(model(torch.randn(4, 3, 16, 16)).square().mean()).backward()
    train.move_weights(trainer)
    assert not model.head.weight.equal(before["head.weight"]) and not model.blocks[0].mlp.fc1.weight.equal(before["blocks.0.mlp.fc1.weight"])


def test_muon_alone_where_only_the_blocks_matrices_are_free():
    model = ViT(16, 4, 3, 10, 16, 1, 2)
    for name, p in model.named_parameters():
        p.requires_grad_(name.startswith("blocks.") and p.ndim == 2)
    history = fit(model, [(torch.randn(8, 3, 16, 16), torch.arange(8))], algorithm="muon", **OTHERS)
    assert len(history.rows) == 2


@pytest.mark.parametrize("log_every", [1, 3, 50])
@pytest.mark.parametrize("spoilt", [False, True])
def test_a_rate_finder_leaves_the_weights_and_keeps_a_curve_that_ran_away(spoilt, log_every):
    torch.manual_seed(0)
    model = ViT(16, 4, 3, 10, 16, 1, 2)
    before = {name: w.clone() for name, w in model.state_dict().items()}

    class Spoil(callbacks.Callback):
        def on_step(self, trainer):
            if spoilt and trainer.step == 5:
                trainer.model.head.weight.data.fill_(float("inf"))

    finder = callbacks.RateFinder(1e-5, 1e-3, steps=12)
    batch = torch.randn(16, 3, 16, 16), torch.arange(16) % 10
    fit(model, [batch] * 20, callbacks=[finder, Spoil()], **OTHERS | dict(epochs=1), log_every=log_every, grad_clip=None, algorithm="sgd")
    assert len(finder.losses) == (6 if spoilt else 12) and np.isfinite(finder.losses[-1][1]) != spoilt
    assert all(w.equal(before[name]) for name, w in model.state_dict().items())


def test_early_stopping_wants_something_to_validate_on():
    with pytest.raises(ValueError, match="EarlyStopping compares epochs on validation images, and there are none"):
        fit(ViT(16, 4, 3, 10, 16, 1, 2), [(torch.randn(8, 3, 16, 16), torch.arange(8))], callbacks=callbacks.EarlyStopping(1), **OTHERS)


def test_an_empty_batch_takes_the_plain_path_where_a_gpu_would_be_asked():
    from vit_from_scratch.attention import use_fused

    assert use_fused(torch.zeros(1, 2, 20, 4, device="meta")) and not use_fused(torch.zeros(0, 2, 20, 4, device="meta"))
    assert ViT(64, 1, 3, 10, 16, 1, 2)(torch.zeros(0, 3, 64, 64)).shape == (0, 10)  # a CPU's takes it
