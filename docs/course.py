"""Write the course twice from the lessons in nbs/: for students, without solutions, and for teachers, with them.

    python docs/course.py                 every lesson, into _build/course/student and _build/course/teacher
    python docs/course.py 07 11           only these lessons
    python docs/course.py --to FOLDER     somewhere else
"""
import argparse
import re
import sys
from pathlib import Path

import nbformat
import project

FOLDER = project.ROOT / "_build" / "course"
EDITIONS = ("student", "teacher")
PLACEHOLDER = "*The solution is in the teachers' edition.*"


def is_for_teachers(
    cell: dict,  # of a lesson
) -> bool:
    "Whether a cell holds or uses a solution, or carries the tag `teacher`."
    if "teacher" in cell["metadata"].get("tags", []):
        return True
    code = project.source(cell) if cell["cell_type"] == "code" else ""
    return "export" not in project.directives(code)[0] and bool(re.search(r"\bsolution_", code))


def for_students(
    cells: list,  # of a lesson
) -> list:
    "The cells without those for teachers; a sentence stands where a solution was defined."
    kept = []
    for cell in cells:
        if not is_for_teachers(cell):
            kept.append(cell)
        elif re.search(r"^def solution_", project.source(cell), re.M):
            kept.append(nbformat.v4.new_markdown_cell(PLACEHOLDER, id=cell["id"]))
    return kept


def relink(
    text: str,  # Markdown of a lesson
    present: set[str],  # file names of the lessons that are written
    site: str,  # address of the documentation, or ""
) -> str:
    "Links to notebooks that do not come along lead to the documentation; without its address only the words stay."
    def new_link(match: re.Match) -> str:
        words, target, anchor = match.groups()
        page = f"{site}/{target.removesuffix('.ipynb')}.html{anchor}"
        return match[0] if target in present else f"[{words}]({page})" if site else words

    return re.sub(r"\[([^\]]*)\]\((?!\w+:)([\w/-]+\.ipynb)(#[^)]*)?\)", new_link, text)


def chosen(
    lessons: list[str],  # beginnings of file names, such as "07"; none: all
) -> list[Path]:
    "The lessons asked for, in order."
    paths = project.course_paths()
    unknown = [name for name in lessons if not any(path.name.startswith(name) for path in paths)]
    if unknown:
        raise ValueError(f"there is no lesson {', '.join(unknown)}; there is {', '.join(path.name[:2] for path in paths)}")
    return [path for path in paths if not lessons or path.name.startswith(tuple(lessons))]


def write_editions(
    folder: Path = FOLDER,  # gets one folder per edition
    lessons: list[str] = (),  # as in `chosen`
) -> list[Path]:
    "Both editions of the lessons; the files written."
    paths, written = chosen(list(lessons)), []
    present, site = {path.name for path in paths}, project.links().docs
    for edition in EDITIONS:
        (folder / edition).mkdir(parents=True, exist_ok=True)
        for path in paths:
            notebook = nbformat.read(path, as_version=4)
            if edition == "student":
                notebook.cells = for_students(notebook.cells)
            for cell in notebook.cells:
                if cell.cell_type == "markdown":
                    cell.source = relink(cell.source, present, site)
            nbformat.write(notebook, folder / edition / path.name)
            written.append(folder / edition / path.name)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lessons", nargs="*", help="beginnings of file names, such as 07")
    parser.add_argument("--to", type=Path, default=FOLDER, help="the folder that gets student/ and teacher/")
    arguments = parser.parse_args()
    try:
        written = write_editions(arguments.to, arguments.lessons)
    except ValueError as error:
        sys.exit(f"course: {error}")
    print(f"{len(written)} notebooks in {arguments.to / 'student'} and {arguments.to / 'teacher'}")


if __name__ == "__main__":
    main()
