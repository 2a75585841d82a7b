"""Execute every lesson once, top to bottom, on a copy, and check that notebooks, library and README agree.

    python tests/run_lessons.py             everything
    python tests/run_lessons.py 02 weights  only these notebooks (their execution is not recorded)
    python tests/run_lessons.py --no-run    only the checks that execute nothing

The executed copies land in `_build/executed`, where the documentation finds them. The first failure ends the run with
the name of the notebook and the cell. BFLOAT16=yes or no in the environment forces the answer to whether that format pays here.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))
import project  # noqa: E402
import readme  # noqa: E402

CELL_TIMEOUT = 600  # seconds


class Failure(Exception):
    "A check that did not pass, in words for the reader."


def shown(path: Path) -> str:
    "A notebook's name as a reader knows it: its place below nbs/, or below the folder of the executed copies."
    base = next((base for base in (project.NOTEBOOKS, project.EXECUTED) if path.is_relative_to(base)), path.parent)
    return path.relative_to(base).as_posix()


def copy_for_execution(path: Path) -> Path:
    "A copy of a notebook at the same place below `_build/executed`."
    copy = project.EXECUTED / project.name_of(path)
    copy.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(path, copy))


def execute(path: Path) -> None:
    "Execute one notebook in place; used in a process of its own."
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import (
        CellExecutionError,
        CellTimeoutError,
        DeadKernelError,
    )

    class Runner(NotebookClient):
        async def async_execute_cell(self, cell, cell_index, **kwargs):
            self.current = cell_index, cell
            return await super().async_execute_cell(cell, cell_index, **kwargs) if project.is_evaluated(cell) else cell

    notebook = nbformat.read(path, as_version=4)
    runner = Runner(
        notebook, timeout=CELL_TIMEOUT, kernel_name="python3", store_widget_state=True, resources={"metadata": {"path": str(path.parent)}}
    )
    try:
        runner.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        index, cell = runner.current
        name = next((line for line in cell.source.split("\n") if line.strip() and not line.startswith("#|")), "")
        text = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
        raise SystemExit(f"FAILED {shown(path)}, cell {index} (“{name.strip()}”)\n{text[-3000:]}") from None
    finally:
        nbformat.write(notebook, path)


def run_all(paths: list[Path], jobs: int) -> dict[str, float]:
    "Execute notebooks, `jobs` at a time, each in a process of its own; seconds by name."
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    places = [str(ROOT), *([str(ROOT / "tests" / "forced")] if os.environ.get("BFLOAT16") else [])]
    environment = {
        **os.environ, "OMP_NUM_THREADS": threads, "PYTHONPATH": os.pathsep.join(places), "JUPYTER_PREFER_ENV_PATH": "1", "IN_TEST": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline", "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }  # fmt: skip
    subprocess.run([sys.executable, "-c", "import matplotlib.font_manager"], env=environment, stderr=subprocess.DEVNULL, check=True)  # builds its font cache once, out of sight
    running: set[subprocess.Popen] = set()

    def one(path: Path) -> tuple[str, float]:
        start = time.perf_counter()
        process = subprocess.Popen([sys.executable, __file__, "--one", str(path)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        running.add(process)
        output = process.communicate()[0]
        running.discard(process)
        if process.returncode:
            raise Failure(output.strip() or f"FAILED {shown(path)}")
        return shown(path), time.perf_counter() - start

    seconds = {}
    with ThreadPoolExecutor(jobs) as pool:
        futures = [pool.submit(one, path) for path in paths]
        try:
            for future in as_completed(futures):
                name, took = future.result()
                seconds[name] = took
                print(f"  {name:32s} {took:6.1f} s", flush=True)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in list(running):
                process.terminate()
            raise
    return seconds


def complain_of_noise(path: Path) -> None:
    "Warnings and error texts do not belong in a lesson: fail on them, since readers would see them."
    for index, cell in enumerate(project.read_notebook(path)["cells"]):
        for output in cell.get("outputs", []):
            if output["output_type"] == "stream" and output["name"] == "stderr":
                raise Failure(f"FAILED {shown(path)}, cell {index} writes to stderr: {''.join(output['text'])[:500]}")


def check_export_and_cleanliness() -> None:
    "`nbdev_export` and `nbdev_clean`, run on a copy, must change nothing."
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copy(ROOT / "settings.ini", copy)
        shutil.copytree(project.NOTEBOOKS, copy / "nbs", ignore=shutil.ignore_patterns(".ipynb_checkpoints", "data", "runs"))
        (copy / project.PACKAGE.name).mkdir()
        shutil.copy(project.PACKAGE / "__init__.py", copy / project.PACKAGE.name)
        code = "from nbdev.doclinks import nbdev_export; from nbdev.clean import nbdev_clean; nbdev_export(); nbdev_clean()"
        done = subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True)
        if done.returncode:
            raise Failure(f"nbdev_export fails:\n{done.stdout}{done.stderr}")
        ours, theirs = ({path.name: path.read_text() for path in (base / project.PACKAGE.name).glob("*.py")} for base in (ROOT, copy))
        if different := sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)):
            raise Failure(f"run nbdev_export and commit: it changes {', '.join(different)} of {project.PACKAGE.name}/")
        notebooks = [path.relative_to(ROOT) for path in project.NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts]
        if different := sorted(str(path) for path in notebooks if (ROOT / path).read_bytes() != (copy / path).read_bytes()):
            raise Failure(f"run nbdev_clean and commit: it changes {', '.join(different)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", help="first characters of the lessons to execute; all of them when left out")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="notebooks executed at the same time")
    parser.add_argument("--no-run", action="store_true", help="only check export, cleanliness and README")
    parser.add_argument("--no-check", action="store_true", help="only execute")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        return execute(arguments.one)
    start, notebooks = time.perf_counter(), project.lesson_paths()
    try:
        if not arguments.no_check:
            check_export_and_cleanliness()
            readme.check()
            print(f"export leaves no difference, {len(notebooks) + len(project.result_paths())} notebooks are clean, the README is in step", flush=True)
        if not arguments.no_run:
            if arguments.lessons:
                notebooks = [path for path in notebooks if path.name.startswith(tuple(arguments.lessons))]
            partial, fingerprint = bool(arguments.lessons), project.source_hash()
            if not partial:
                shutil.rmtree(project.EXECUTED, ignore_errors=True)
            project.EXECUTED.mkdir(parents=True, exist_ok=True)
            (project.EXECUTED / "record.json").unlink(missing_ok=True)
            copies = [copy_for_execution(path) for path in notebooks]
            seconds = run_all(copies, arguments.jobs)
            for path in copies:
                complain_of_noise(path)
            counts = [(len(notebook["cells"]), project.count_tests(notebook)) for notebook in map(project.read_notebook, copies)]
            cells, tests = map(sum, zip(*counts, strict=True))
            if not partial:
                (project.EXECUTED / "record.json").write_text(json.dumps({"hash": fingerprint, "seconds": seconds, "cells": cells, "tests": tests}, indent=1))
            forced = f", bfloat16 forced: {os.environ['BFLOAT16']}" if os.environ.get("BFLOAT16") else ""
            print(f"{len(copies)} notebooks, {cells} cells and {tests} tests in them passed in {time.perf_counter() - start:.0f} s{forced}", flush=True)
    except Failure as failure:
        raise SystemExit(str(failure)) from None


if __name__ == "__main__":
    main()
