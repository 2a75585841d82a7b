"The report of a GPU, rehearsed at tiny sizes on the CPU: a slip of the pen would cost the next visit to a GPU."
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "nbs" / "results"))
import gpu_report  # noqa: E402


def rehearse(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "nbs/results/gpu_report.py", "--rehearse", "--out", str(folder), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    done = rehearse(folder, "--only", "speed,cifar10,peers")
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_part_leaves_its_numbers(rehearsed):
    results = json.loads((rehearsed / "report.json").read_text())["results"]
    speeds = [value["images_per_second"] for name, value in results.items() if name.startswith(("training", "step"))]
    assert len(speeds) == 7 and all(math.isfinite(speed) and speed > 0 for speed in speeds)
    (run,) = results["cifar10, seed 0"]["runs"]
    assert run["epochs"] == len(run["rows"]) == 2 and run["test_images"] == 100 and run["seconds"] <= run["seconds_with_compiling"]
    assert (rehearsed / "cifar10-0.safetensors").is_file()


def test_a_report_goes_on_where_it_stopped(rehearsed):
    before = (rehearsed / "report.json").read_text()
    done = rehearse(rehearsed, "--only", "speed,cifar10,peers")
    assert done.returncode == 0 and done.stdout == "" and json.loads(before)["results"] == json.loads((rehearsed / "report.json").read_text())["results"]


def test_the_plan_on_a_gpu_and_its_rehearsal_have_the_same_parts():
    parts = [list(dict.fromkeys(part for part, *_ in gpu_report.plan(rehearse, "data", Path("out")))) for rehearse in (False, True)]
    assert parts[0] == parts[1] and parts[0][:3] == ["tests", "speed", "cifar10"]


def test_without_a_gpu_it_says_so(tmp_path):
    done = subprocess.run([sys.executable, "nbs/results/gpu_report.py", "--out", str(tmp_path)], cwd=ROOT, capture_output=True, text=True,
                          env={**os.environ, "CUDA_VISIBLE_DEVICES": ""})  # fmt: skip
    assert done.returncode == 1 and done.stderr.strip() == "no CUDA device here; --rehearse runs the same at tiny sizes on the CPU"
