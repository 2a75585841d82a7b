"The `vit` command from outside: what it refuses, and how; and one tiny run of everything it can do."

import contextlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vit_from_scratch import cli
from vit_from_scratch.config import PRESETS, SECTIONS, SETTINGS, ConfigError, config_from_json, preset, with_overrides, with_settings

VIT = [sys.executable, "-m", "vit_from_scratch.cli"]
ENV = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"}


def run(*words):
    "A command in this process: exit code, output, errors."
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as end:
        cli.main(words)
    return end.value.code, out.getvalue(), err.getvalue()


def refused(code, out, err):
    "One line of plain text on the error stream, exit code 2, nothing else."
    assert code == 2, (code, out, err)
    assert not out and err.endswith("\n") and len(err.splitlines()) == 1 and err.strip().isprintable(), (out, err)
    assert err.startswith("vit: ") and len(err) < 600 and "Traceback" not in err and "pydantic" not in err, err
    return err


# ---------------------------------------------------------------- malformed settings


def schema(name):
    section, field = name.split(".")
    found = SECTIONS[section].model_json_schema()["properties"][field]
    return found | next((part for part in found.get("anyOf", []) if part["type"] != "null"), {})


KINDS = {kind: [name for name in SETTINGS.values() if schema(name)["type"] == kind] for kind in ("integer", "number", "boolean", "string", "array")}
NUMERIC = KINDS["integer"] + KINDS["number"]
NULLABLE = {name for name in SETTINGS.values() if "anyOf" in SECTIONS[name.split(".")[0]].model_json_schema()["properties"][name.split(".")[1]]}
NOT_NUMBERS = ["", "abc", "1..2", "--3", "0x10", "1e", "nan", "inf", "-inf", "1e999", "True", "[1]", "1+1", "__import__('os')", "١٢a", "½", "1 2", "\u2028", "nane"]


@st.composite
def wrong_type(draw):
    kind = draw(st.sampled_from(["number", "integer", "boolean", "word", "array"]))
    if kind == "boolean":
        return f"{draw(st.sampled_from(KINDS['boolean']))}={draw(st.sampled_from(['maybe', '2', 'tru', '', 'nein', '0.5', '[]']))}"
    if kind == "word":
        words = [name for name in KINDS["string"] if "enum" in schema(name)]
        return f"{draw(st.sampled_from(words))}={draw(st.sampled_from(['', 'Adam', 'GPU', 'sinus', '1', 'shape', 'auto,auto', 'ådämw']))}"
    if kind == "array":
        return f"{draw(st.sampled_from(['optimizer.betas', 'transform.random_resized_crop']))}={draw(st.sampled_from(['0.9', '0.9,', 'a,b', '0.9,0.9,0.9', '0.9;0.98', '1.5,2', 'nan,0.5', '-1,0.5', '(0.9,0.9)', '']))}"
    if kind == "integer":
        return f"{draw(st.sampled_from(KINDS['integer']))}={draw(st.sampled_from([*NOT_NUMBERS, '1.5', '1e-3', '9' * 30]))}"
    return f"{draw(st.sampled_from(KINDS['number']))}={draw(st.sampled_from(NOT_NUMBERS))}"


@st.composite
def out_of_range(draw):
    name = draw(st.sampled_from(NUMERIC))
    rule, far = schema(name), draw(st.integers(1, 10**6))
    low = rule.get("minimum", rule.get("exclusiveMinimum", 0) - ("exclusiveMinimum" not in rule))
    high = rule.get("maximum", rule.get("exclusiveMaximum"))
    return f"{name}={high + far if high is not None and draw(st.booleans()) else low - far}"


@st.composite
def wrong_name(draw):
    real = draw(st.sampled_from(sorted(SETTINGS.values())))
    section, field = real.split(".")
    at = draw(st.integers(0, len(real) - 1))
    other = draw(st.sampled_from(sorted(set(SECTIONS) - {section})))
    made = [field, f"{other}.{field}", f"{real}.{field}", real.upper(), f" {real}", f"{real} ", real[:at] + real[at + 1 :], f"{section}.", f".{field}", f"{section}.{field}_", f"{section}.__class__", f"{section}.model_config", ""]
    name = draw(st.sampled_from(made) | st.text(st.characters(exclude_characters="="), max_size=30))
    return ("_" + name if name in SETTINGS.values() else name) + "=1"


@st.composite
def wrong_text(draw):
    names = ["dataset.root", "training.runs_dir", "training.resume_path", "model.init_from", "model.patch_size", "optimizer.lr", "dataset.name"]
    bad = draw(st.sampled_from(["\udcff", "a\x00b", "\n", "a\nb", "\x1b[31m", "\ud800", "x" * 5000, "\r", "\x7f"]))
    return f"{draw(st.sampled_from(names))}={bad}"


no_equals = st.text(st.characters(exclude_characters="="), max_size=40)
one_bad = st.one_of(wrong_type(), out_of_range(), wrong_name(), wrong_text(), no_equals).map(lambda text: [text])
apart = ["model.embed_dim=66", "model.num_heads=3", "model.patch_size=7", "lr_scheduler.warmup_epochs=10000", "lr_scheduler.min_lr=900", "dataset.mean=0.5",
         "transform.random_resized_crop=0.9,0.1", "dataset.std=0,0,0"]  # fmt: skip
repeated = st.sampled_from(sorted(SETTINGS.values())).flatmap(lambda name: st.sampled_from([[f"{name}=1", f"{name}=1"], [f"{name}=none", f"{name}=2"]]))
unfit = st.sampled_from(apart).map(lambda text: [text])


@given(st.one_of(one_bad, one_bad, one_bad, one_bad, repeated, unfit), st.integers(0, 2))
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def check_refused(words, good):
    words = words + ["training.seed=3", "training.tensorboard=false"][:good] if not any(w.startswith("training.") for w in words) else words
    refused(*run("train", *(part for word in words for part in ("--set", word))))
    with pytest.raises(ConfigError) as error:
        with_overrides(preset(), words)
    assert len(str(error.value).splitlines()) == 1


def test_300_malformed_settings_are_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "run_training", lambda *_: pytest.fail("a malformed setting reached the training"))
    check_refused()
    assert list(tmp_path.iterdir()) == []


def test_ten_malformed_command_lines_as_processes(tmp_path):
    lines = [
        ["--set", "training.epoch=5"], ["--set", "optimizer.lr=fast"], ["--set", "optimizer.lr=nan"], ["--set", "model.embed_dim=65"],
        ["--set", "training.epochs=1", "--set", "training.epochs=2"], ["--set", b"dataset.root=\xff\xfe"], ["--preset", "cifar11"], ["--bogus"],
        ["--set", "training.resume_path=no/such/last.pth"], ["--set", "training.epochs=__import__('os').mkdir('hacked')"],
    ]  # fmt: skip
    started = [subprocess.Popen([*VIT, "train", *line], cwd=tmp_path, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for line in lines]
    for process in started:
        out, err = process.communicate(timeout=600)
        refused(process.returncode, out.decode(), err.decode())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words, reason", [
    (["evaluate", "no/such/run"], "there is no run"),
    (["evaluate", "no-such-model"], "no-such-model"),
    (["predict", "runs", "x.png"], "runs"),
    (["train", "--preset", "cifar10", "--set", "dataset.root=nowhere"], "nowhere"),
    (["train", "--set", "dataset.name=imagefolder", "--set", "dataset.root=."], "class folders"),
    (["train", "--set", "training.device=cuda"], "cuda"),
    (["train", "--name", "../up"], "--name"),
    (["train", "--set", "model.image_size=4096", "--set", "model.patch_size=4"], "training.batch_size=|model.patch_size="),
    (["info", "--device", "tpu"], "tpu"),
    (["trian"], "train"),
])  # fmt: skip
def test_other_mistakes(words, reason, tmp_path, monkeypatch):
    if "training.device=cuda" in words and __import__("torch").cuda.is_available():
        pytest.skip("there is a CUDA device here")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vit_from_scratch.hardware.free_memory", lambda device: 8e9)  # of a machine that says how much it has
    err = refused(*run(*words))
    assert any(part in err for part in reason.split("|")), err
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------- what is understood


def test_old_command_lines_are_understood(tmp_path):
    line = "--set model.image_size=448 --set training.epochs=100 --set optimizer.lr=3e-4 --set optimizer.betas=0.9,0.98"
    code, out, err = run("train", *line.split(), "--print-config")
    found = config_from_json(out)
    assert (code, err) == (0, "")
    assert (found.model.image_size, found.training.epochs, found.optimizer.lr, found.optimizer.betas) == (448, 100, 3e-4, (0.9, 0.98))


@pytest.mark.parametrize("name", PRESETS)
def test_printed_settings_come_back(name):
    code, out, _ = run("train", "--preset", name, "--set", "training.grad_clip=none", "--print-config")
    assert code == 0 and config_from_json(out) == with_settings(preset(name), grad_clip=None)


def test_help_is_complete_and_needs_no_torch():
    code, out, err = run("train", "--help")
    assert (code, err) == (0, "") and all(name in out for name in SETTINGS.values())
    for words in ([], ["--help"], ["evaluate", "-h"], ["predict", "-h"], ["export", "-h"], ["presets", "-h"], ["info", "-h"]):
        code, out, err = run(*words)
        assert (code, err) == (0, "") and "Usage: vit" in out
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    probe = "import sys; from vit_from_scratch import cli\ntry: cli.main(['--help'])\nexcept SystemExit: print([m for m in ('torch', 'numpy', 'matplotlib', 'rich') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=ENV).stdout.endswith("[]\n")
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 1.5


# ---------------------------------------------------------------- a tiny run of everything

TINY = ["dataset.limit=200", "training.batch_size=50", "model.depth=1", "model.embed_dim=32", "lr_scheduler.warmup_epochs=0", "training.device=cpu"]


def sets(*texts):
    return [part for text in texts for part in ("--set", text)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    "A finished run of one epoch."
    runs = tmp_path_factory.mktemp("runs")
    code, out, err = run("train", "--name", "tiny", *sets(*TINY, "training.epochs=1", f"training.runs_dir={runs}"))
    assert code == 0, err
    (found,) = runs.iterdir()
    assert found.name.endswith("-tiny") and f"folder: {found}" in out
    assert all(word in out for word in ("tokens", "parameters", "memory", "accuracy", "f1", "images/s", "waiting for images"))
    return found


def test_a_run_leaves_its_folder(folder):
    names = {path.name for path in folder.iterdir()}
    assert {"config.json", "metrics.csv", "last.pth", "best.pth", "figures", "test.json"} <= names
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert len(list((folder / "figures").glob("*.png"))) >= 3
    assert config_from_json((folder / "config.json").read_text()).training.epochs == 1


def test_evaluate_repeats_the_test_metrics(folder):
    code, out, err = run("evaluate", str(folder))
    assert code == 0, err
    headings, figures = (line.split() for line in out.splitlines())
    told = json.loads((folder / "test.json").read_text())
    assert float(figures[headings.index("accuracy")]) == pytest.approx(told["accuracy"], abs=1e-3)
    refused(*run("evaluate", str(folder), "--part", "tests"))


def test_predict_names_classes_and_draws_attention(folder, tmp_path):
    from PIL import Image

    Image.effect_noise((40, 30), 60).convert("RGB").save(tmp_path / "a.png")
    (tmp_path / "broken.png").write_bytes(b"not an image")
    code, out, err = run("predict", str(folder), str(tmp_path / "a.png"), "--top", "2", "--attention", str(tmp_path / "out.png"))
    assert code == 0, err
    assert out.count("%") == 2 and Image.open(tmp_path / "out.png").size > (100, 100)
    assert "broken.png" in refused(*run("predict", str(folder), str(tmp_path / "broken.png")))
    assert "has to end in" in refused(*run("predict", str(folder), str(tmp_path / "a.png"), "--attention", str(tmp_path / "out.foo")))
    code, _, err = run("predict", str(folder), str(tmp_path / "a.png"), "--attention", str(tmp_path / "new" / "out.png"))
    assert code == 0 and (tmp_path / "new" / "out.png").is_file(), err


def test_resume_goes_on_in_the_same_folder(folder, monkeypatch):
    monkeypatch.setattr("vit_from_scratch.visualize.run_figures", lambda progress: None)  # seen above
    resume = f"training.resume_path={folder / 'last.pth'}"
    assert "trained with" in refused(*run("train", *sets(resume, "model.depth=2")))
    assert "do not go together" in refused(*run("train", "--preset", "shapes", *sets(resume)))
    code, out, err = run("train", *sets(resume, "training.epochs=2"))
    assert code == 0, err
    assert "resumed after 1 epochs and 0 batches" in out and str(folder / "last.pth") in out
    assert f"folder: {folder}" in out and len(list(folder.parent.iterdir())) == 1
    assert len((folder / "metrics.csv").read_text().splitlines()) == 3


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_ctrl_c_saves_and_says_how_to_resume(tmp_path):
    words = sets(*TINY, "training.epochs=5000", f"training.runs_dir={tmp_path}")
    process = subprocess.Popen([*VIT, "train", *words], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 300
    while not list(tmp_path.glob("*/best.pth")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=600)
    assert process.returncode == 130 and "Traceback" not in err, err
    (saved,) = tmp_path.glob("*/last.pth")
    assert f"vit train --set training.resume_path={saved}" in err


@pytest.mark.parametrize("has_amx", [True, False])
def test_presets_and_info(has_amx, monkeypatch):
    monkeypatch.setattr("vit_from_scratch.hardware.cpu_has_amx", lambda: has_amx)
    code, out, _ = run("presets")
    assert code == 0 and all(name in out for name in PRESETS) and "1602442" in out
    code, out, _ = run("info")
    assert code == 0 and "torch" in out and f"threads, {'' if has_amx else 'no '}matrix units for bfloat16" in out and "a run would use" in out
