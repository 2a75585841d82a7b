"The editions for students and teachers: what is in them, and that their exercises work."
import ast
import contextlib
import io
import re
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "docs"), str(HERE / "test_exercises")]
import course  # noqa: E402
import lesson as lessons  # noqa: E402
import project  # noqa: E402

NAMES = [path.name for path in project.course_paths()]
FEW = ("01", "02", "03", "04", "06", "07")  # whose exercises need no trained model


@pytest.fixture(scope="module")
def editions(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("course")
    course.write_editions(folder)
    return folder


def cells(path: Path) -> dict[str, dict]:
    "The cells of a notebook by their ids."
    return {cell["id"]: cell for cell in project.read_notebook(path)["cells"]}


def names_in(group: list[dict], which) -> set[str]:
    "Names that the code of some cells defines or uses."
    return {name for node in lessons.statements({"cells": group}) for name in which(node)}


def said_by(folder: Path, lesson: str, name: str) -> list[str]:
    "What every cell of a lesson prints that mentions `name`, run with nothing but what it needs."
    (path,), printed = folder.glob(f"{lesson}*.ipynb"), []
    notebook = project.read_notebook(path)
    known = names_in([c for c in notebook["cells"] if c["cell_type"] == "code"], lessons.defined)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code" and re.search(rf"\b{name}", project.source(cell)) and "check_" in project.source(cell):
            needed = sorted(names_in([cell], lessons.used) & known)
            scope = vars(lessons.load(lesson, *needed, folder=folder))
            with contextlib.redirect_stdout(io.StringIO()) as out:
                exec(compile(project.source(cell), path.name, "exec"), {"__name__": lesson, **scope})
            printed.append(out.getvalue())
    return printed


@pytest.mark.parametrize("name", NAMES)
def test_students_get_everything_but_the_solutions(editions, name):
    source, student = cells(project.NOTEBOOKS / name), cells(editions / "student" / name)
    text = (editions / "student" / name).read_text(encoding="utf-8")
    assert "solution_" not in text
    removed = {key for key in source if key not in student or student[key]["cell_type"] != source[key]["cell_type"]}
    assert removed, "every lesson has exercises with solutions"
    for key, cell in source.items():
        code = project.source(cell)
        if key in removed:
            assert "solution_" in code or cell["cell_type"] == "markdown"
            assert not re.search(r"^(def|class) (my|check)_", code, re.M)
        elif cell["cell_type"] == "code":
            assert project.source(student[key]) == code and len(student[key]["outputs"]) == len(cell["outputs"])
        else:
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", code)
            assert re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", project.source(student[key])) == words


@pytest.mark.parametrize("name", NAMES)
def test_no_cell_of_the_student_needs_one_that_is_gone(editions, name):
    source, student = cells(project.NOTEBOOKS / name), cells(editions / "student" / name)
    code = {key: cell for key, cell in source.items() if cell["cell_type"] == "code"}
    kept = [cell for key, cell in code.items() if student.get(key, {}).get("cell_type") == "code"]
    gone = [cell for cell in code.values() if cell not in kept]
    lost = names_in(gone, lessons.defined) - names_in(kept, lessons.defined)
    for cell in kept:
        stored = {node.id for node in ast.walk(ast.parse(project.source(cell))) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        assert not (lost - stored) & names_in([cell], lessons.used), project.source(cell)


@pytest.mark.parametrize("name", NAMES)
def test_teachers_get_every_cell(editions, name):
    source, teacher = cells(project.NOTEBOOKS / name), cells(editions / "teacher" / name)
    assert list(source) == list(teacher)
    assert all(project.source(source[key]) == project.source(teacher[key]) for key in source if source[key]["cell_type"] == "code")


@pytest.mark.parametrize("name", NAMES)
def test_no_link_leads_to_a_notebook_that_is_not_there(editions, name):
    for edition in course.EDITIONS:
        for cell in cells(editions / edition / name).values():
            if cell["cell_type"] == "markdown":
                for target in re.findall(r"\]\((?!\w+:)([^)#\s]+\.ipynb)", project.source(cell)):
                    assert (editions / edition / target).exists()


@pytest.mark.parametrize("lesson", FEW)
def test_stubs_are_open_and_solutions_pass(editions, lesson):
    for edition in course.EDITIONS:
        said = said_by(editions / edition, lesson, "my_")
        assert said and "not attempted" in "".join(said) and "✓" not in "".join(said)
    assert not said_by(editions / "student", lesson, "solution_")
    assert said_by(editions / "teacher", lesson, "solution_")  # their cells assert what the check says


@pytest.mark.parametrize("lesson", FEW)
def test_checks_of_the_student_accept_what_is_right_and_refuse_what_is_not(editions, lesson):
    (path,) = (editions / "teacher").glob(f"{lesson}*.ipynb")
    text = "\n".join(project.source(c) for c in project.read_notebook(path)["cells"] if c["cell_type"] == "code")
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and getattr(node.func, "id", "").startswith("check_")]
    asked = {node.func.id: [a.id for a in node.args] for node in calls if all(getattr(a, "id", "").startswith("solution_") for a in node.args) and node.args}
    assert asked
    for check, answers in asked.items():
        judge = getattr(lessons.load(lesson, check, folder=editions / "student"), check)
        right = vars(lessons.load(lesson, *answers, folder=editions / "teacher"))
        assert judge(*(right[name] for name in answers)).startswith("✓")
        assert judge(*[lambda *given: "42"] * len(answers)).startswith("✗")


def test_one_lesson_and_one_that_does_not_exist(tmp_path):
    written = course.write_editions(tmp_path, ["07"])
    assert [path.name for path in written] == ["07_training.ipynb"] * 2
    with pytest.raises(ValueError, match="there is no lesson 12; there is 01, 02"):
        course.write_editions(tmp_path, ["12"])


def test_links_that_lead_out_of_the_course_and_exported_code():
    link = course.relink("see [this](02_attention.ipynb#top) and [that](workshop/doctor.ipynb)", {"02_attention.ipynb"}, "")
    assert link == "see [this](02_attention.ipynb#top) and that"
    assert course.relink("[that](workshop/doctor.ipynb#a)", set(), "https://x.org") == "[that](https://x.org/workshop/doctor.html#a)"
    exported = {"cell_type": "code", "metadata": {}, "source": "#| export\nsolution_x = 1"}
    assert not course.is_for_teachers(exported)


def test_the_timetable_holds_every_lesson_once_and_no_unit_is_too_long():
    text = "\n".join(project.source(cell) for cell in project.read_notebook(project.NOTEBOOKS / "index.ipynb")["cells"])
    units = [re.findall(r"\d\d", lessons_of) for lessons_of in re.findall(r"^\| \d \| ([\d, ]+) \|", text, re.M)]
    assert sorted(sum(units, [])) == [name[:2] for name in NAMES]
    lengths = {name[:2]: len(cells(project.NOTEBOOKS / name)) for name in NAMES}
    assert max(sum(lengths[lesson] for lesson in unit) for unit in units) <= 200
