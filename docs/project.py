"What the documentation, the README and the lesson runner all need to know about the project."
import ast
import hashlib
import json
import re
from configparser import ConfigParser
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS, PACKAGE = ROOT / "nbs", ROOT / "vit_from_scratch"
EXECUTED, SITE = ROOT / "_build" / "executed", ROOT / "_build" / "site"
WORKSHOP = (  # in the order of the menu
    "settings", "shapes", "ladder", "datasets", "batches", "weights", "hardware", "loaders", "checkpoints", "callbacks",
    "estimates", "runs", "stopwatch", "page", "explorers", "doctor", "command_line", "attention_options", "exercises",
)  # fmt: skip


@dataclass(frozen=True)
class Links:
    "Addresses outside the site; all of them empty while `settings.ini` names no hosting account."

    user: str = ""
    repo: str = "vit_from_scratch"
    branch: str = "main"

    @property
    def repository(self) -> str:
        return f"https://github.com/{self.user}/{self.repo}" if self.user else ""

    @property
    def docs(self) -> str:
        return f"https://{self.user}.github.io/{self.repo}" if self.user else ""

    def source(self, path: str) -> str:
        return f"{self.repository}/blob/{self.branch}/{path}" if self.user else ""

    def edit(self, path: str) -> str:
        return f"{self.repository}/edit/{self.branch}/{path}" if self.user else ""

    def raw(self, path: str) -> str:
        return f"https://raw.githubusercontent.com/{self.user}/{self.repo}/{self.branch}/{path}" if self.user else ""

    def colab(self, path: str) -> str:
        return f"https://colab.research.google.com/github/{self.user}/{self.repo}/blob/{self.branch}/{path}" if self.user else ""


def settings() -> dict[str, str]:
    "The values of `settings.ini`."
    config = ConfigParser(delimiters=["="])
    config.read(ROOT / "settings.ini", encoding="utf-8")
    return dict(config["DEFAULT"])


def links(
    user: str | None = None,  # another account than the one in `settings.ini`
) -> Links:
    values = settings()
    return Links(values["user"] if user is None else user, values["repo"], values["branch"])


def course_paths() -> list[Path]:
    "The lessons of the course, in order."
    return sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))


def workshop_paths() -> list[Path]:
    "The notebooks of the engine, in the order in which they build on each other; one that has no place yet comes last."
    found = {path.stem: path for path in sorted((NOTEBOOKS / "workshop").glob("*.ipynb"))}
    return [found.pop(name) for name in WORKSHOP if name in found] + list(found.values())


def lesson_paths() -> list[Path]:
    "The notebooks that are executed: the home page first, then the course, then the workshop."
    return sorted(NOTEBOOKS.glob("index.ipynb")) + course_paths() + workshop_paths()


def name_of(path: Path) -> str:
    "A notebook's place below nbs/, such as `workshop/weights.ipynb`."
    return path.relative_to(NOTEBOOKS).as_posix()


def result_paths() -> list[Path]:
    "Recipes run for real: shown with their saved outputs, never executed here."
    return sorted((NOTEBOOKS / "results").glob("*.ipynb"))


def read_notebook(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def source(cell: dict) -> str:
    return cell["source"] if isinstance(cell["source"], str) else "".join(cell["source"])


def directives(text: str) -> tuple[dict[str, str], str]:
    "The `#|` lines that open a code cell, as a dictionary, and the code below them."
    found, lines = {}, text.split("\n")
    while lines and (match := re.match(r"\s*#\s*\|\s*([\w-]+)\s*:?\s*(.*)$", lines[0])):
        found[match[1].replace("_", "-")] = match[2].strip()
        lines.pop(0)
    return found, "\n".join(lines).strip("\n")


def is_evaluated(cell: dict) -> bool:
    return cell["cell_type"] == "code" and directives(source(cell))[0].get("eval", "true").lower() != "false"


def title(notebook: dict) -> str:
    "Text of the first heading of a notebook."
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown" and (match := re.search(r"^# +(.+)$", source(cell), re.M)):
            return match[1].strip()
    raise ValueError("the notebook has no heading of the first level")


def promise(notebook: dict) -> str:
    "The first block quote of a notebook: what it promises, in one sentence."
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown" and (match := re.search(r"^((?:> ?.*\n?)+)", source(cell), re.M)):
            return " ".join(line.lstrip("> ").strip() for line in match[1].strip().split("\n"))
    return ""


def count_tests(notebook: dict) -> int:
    "How many `test_…` calls and assertions the code cells of a notebook hold."
    total = 0
    for cell in notebook["cells"]:
        if is_evaluated(cell):
            code = "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in source(cell).split("\n"))
            for node in ast.walk(ast.parse(code)):
                name = getattr(node.func, "id", getattr(node.func, "attr", "")) if isinstance(node, ast.Call) else ""
                total += isinstance(node, ast.Assert) or name.startswith("test_")
    return total


def source_hash() -> str:
    "One number for everything an execution depends on: cells without their outputs, library, scripts, weights."
    digest = hashlib.sha256()
    for path in lesson_paths():
        cells = [(cell["cell_type"], source(cell)) for cell in read_notebook(path)["cells"]]
        digest.update(json.dumps([name_of(path), cells]).encode())
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.name != "_modidx.py":
            digest.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return digest.hexdigest()


def record() -> dict | None:
    "What the last complete execution wrote down, if it is of the notebooks as they are now."
    path = EXECUTED / "record.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    return found if found.get("hash") == source_hash() else None
