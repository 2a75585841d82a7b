"The house keeps its order: imports run downward only, models stay light, the runner names what fails."
import ast
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "vit_from_scratch"
sys.path.insert(0, str(ROOT / "docs"))
import project  # noqa: E402

MODEL = ("patch_embedding", "attention", "encoder", "vit")
MAY_IMPORT = {  # module: those that it may import, and with them all that these may import
    "patch_embedding": (),
    "attention": (),
    "exercise": (),
    "encoder": ("attention",),
    "vit": ("encoder", "patch_embedding"),
    "weights": ("vit",),
    "config": (),
    "batches": (),
    "shapes": (),
    "augment": ("config",),
    "hardware": (),
    "ladder": ("vit", "shapes"),
    "data": ("shapes", "augment", "hardware"),
    "optim": ("config", "hardware"),
    "checkpoint": ("config", "vit", "weights", "optim", "batches"),
    "loaders": ("batches", "data", "augment", "config", "hardware", "vit"),
    "callbacks": ("checkpoint", "loaders", "config"),
    "train": ("optim", "hardware", "checkpoint", "callbacks", "loaders", "data", "batches", "config", "augment", "vit"),
    "estimate": ("vit", "hardware", "config", "optim", "loaders"),
    "interpret": ("attention", "vit"),
    "visualize": ("interpret", "batches", "data", "vit"),
    "page": ("vit", "interpret"),
    "doctor": ("train", "data", "vit"),
    "museum": ("train", "exercise"),
    "run": ("page", "doctor", "visualize", "estimate", "train"),
    "speedrun": ("run",),
    "explore": ("run",),
    "cli": ("run", "speedrun"),
}
LAZILY = {"vit": {"weights"}}  # old names that are looked up in a module above
DRAWING = {"matplotlib", "seaborn", "plotly", "ipywidgets", "anywidget", "IPython"}


def imports(path: Path) -> set[str]:
    "Modules that a file imports anywhere, those of the package as `vit_from_scratch.name`."
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = (PACKAGE.name if node.level else "") + ("." + node.module if node.level and node.module else node.module or "")
            found |= {f"{base}.{alias.name}" for alias in node.names} if base == PACKAGE.name else {base}
    return found


def below(module: str) -> set[str]:
    "The modules that a module may import, directly or through another."
    return {name for direct in MAY_IMPORT[module] for name in (direct, *below(direct))}


@pytest.mark.parametrize("module", sorted(path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("_")))
def test_imports_run_downward(module):
    assert module in MAY_IMPORT, f"{module} has no place in the order of imports"
    ours = {name.split(".")[1] for name in imports(PACKAGE / f"{module}.py") if name.startswith(PACKAGE.name + ".")}
    allowed = below(module) | LAZILY.get(module, set()) | {"__version__"}
    assert ours <= allowed, f"{module} imports upward: {sorted(ours - allowed)}"


def test_the_order_has_no_circle():
    order = list(MAY_IMPORT)
    for place, module in enumerate(order):
        assert set(MAY_IMPORT[module]) <= set(order[:place])


@pytest.mark.parametrize("module", [name for name in MAY_IMPORT if name not in ("ladder", "visualize", "page", "run", "explore", "cli")])
def test_only_figures_and_explorers_draw(module):
    path = PACKAGE / f"{module}.py"
    if not path.exists():
        pytest.skip(f"{module} is not written yet")
    drawn = {name.split(".")[0] for name in imports(path)} & DRAWING
    assert not drawn, f"{module} imports {sorted(drawn)}"


def test_models_import_only_torch_and_einops():
    code = f"import sys\nfrom {PACKAGE.name} import {', '.join(MODEL)}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    loaded = set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout.split())
    heavy = {"torchvision", "torchmetrics", "torchinfo", "safetensors", "pydantic", "typer", "tensorboard", "timm", "transformers", "PIL", *DRAWING}
    assert {"torch", "einops"} <= loaded and not loaded & heavy


def notebook(*cells: tuple[str, str]) -> dict:
    def cell(kind, text, place):
        return {"cell_type": kind, "id": f"c{place}", "metadata": {}, "source": text} | ({"outputs": [], "execution_count": None} if kind == "code" else {})
    return {"cells": [cell(*pair, place) for place, pair in enumerate(cells)], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def test_the_runner_names_notebook_and_cell(tmp_path):
    path = tmp_path / "02_wrong.ipynb"
    path.write_text(json.dumps(notebook(("markdown", "# Wrong"), ("code", "#| eval: false\nraise SystemError"), ("code", "#| export\nx = 1\n1 / 0"))))
    done = subprocess.run([sys.executable, ROOT / "tests" / "run_lessons.py", "--one", path], capture_output=True, text=True)
    assert done.returncode != 0
    assert "FAILED 02_wrong.ipynb, cell 2 (“x = 1”)" in done.stderr and "ZeroDivisionError" in done.stderr


def test_the_loop_promises_what_the_design_names():
    from vit_from_scratch import optim, train

    assert sorted(train.__all__) == ["Callback", "History", "Metrics", "Trainer", "evaluate", "fit", "predict"]
    assert {"Muon", "make_optimizer", "make_schedule", "WeightAverage"} <= set(optim.__all__)


def test_old_names_are_found_where_they_were():
    from vit_from_scratch.data import Augment, make_shapes  # noqa: F401
    from vit_from_scratch.train import Muon, evaluate, fit, load_run, make_model, pick_precision, predict, read_checkpoint, small_side  # noqa: F401
    from vit_from_scratch.vit import load_model, load_weights, save_weights  # noqa: F401


def test_one_notebook_one_module():
    "nbdev loses cells of `#| export other_module` without a word, so there are none; and no two notebooks write one file."
    homes = {}
    for path in project.lesson_paths() + project.result_paths():
        for cell in project.read_notebook(path)["cells"]:
            found = project.directives(project.source(cell))[0] if cell["cell_type"] == "code" else {}
            assert not any(found.get(kind) for kind in ("export", "exporti", "exports")), f"{path.name} exports to another module: {found}"
            if module := found.get("default-exp"):
                assert homes.setdefault(module, path) == path, f"{path.name} and {homes[module].name} both write {module}.py"
    assert homes.keys() == {path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("_")}


def test_every_notebook_is_in_the_course_or_in_the_workshop():
    listed = project.lesson_paths() + project.result_paths()
    there = {path for path in project.NOTEBOOKS.rglob("*.ipynb") if ".ipynb_checkpoints" not in path.parts}
    assert set(listed) == there and len({path.name for path in listed}) == len(listed)


def test_counting_what_a_notebook_tests():
    counted = notebook(("code", "from fastcore.test import *\ntest_eq(1, 1)\nassert True"), ("code", "#| eval: false\nassert False"), ("code", "%matplotlib inline\ntest_close(1., 1.)"))
    assert project.count_tests(counted) == 3


def test_directives():
    assert project.directives("#| export\n#| fig-alt: A cat: grey\nx = 1") == ({"export": "", "fig-alt": "A cat: grey"}, "x = 1")
    assert project.directives("# a comment\nx = 1") == ({}, "# a comment\nx = 1")


def test_lessons_stay_within_their_time():
    record = project.record()
    if record is None:
        pytest.skip("the lessons were not executed as they are now: run python tests/run_lessons.py")
    slow = {name: round(seconds) for name, seconds in record["seconds"].items() if seconds > 180}
    if slow:  # a clock is no test: it measures the machine too
        warnings.warn(f"a lesson should take less than 60 s on two quiet cores; these took longer than 180 s here: {slow}", stacklevel=1)


def test_saved_widgets_fit_the_anywidget_that_is_asked_for():
    "A saved explorer opens only under the version it names: lessons, settings and the site's own copy must agree."
    minor = json.loads((ROOT / "docs" / "package.json").read_text())["dependencies"]["anywidget"].rpartition(".")[0]
    assert f"anywidget>={minor}," in (ROOT / "settings.ini").read_text()
    models = [model for path in (ROOT / "nbs").rglob("*.ipynb") for kept in json.loads(path.read_text())["metadata"].get("widgets", {}).values()
              for model in kept["state"].values() if model["model_module"] == "anywidget"]  # fmt: skip
    assert {model["model_module_version"] for model in models} == {f"~{minor}.*"}
