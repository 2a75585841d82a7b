"What an exercise of a lesson consists of, taken out of its notebook without running the rest."
import ast
import symtable
import sys
from pathlib import Path
from types import SimpleNamespace

import torch

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "docs"))
import project  # noqa: E402


def statements(notebook: dict) -> list[ast.stmt]:
    "Top-level statements of a notebook's code cells, in order."
    code = [project.source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [node for text in code for node in ast.parse(text).body]


def defined(node: ast.stmt) -> set[str]:
    "Names that a statement defines: functions, classes, imports, plain assignments."
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return {alias.asname or alias.name.split(".")[0] for alias in node.names}
    targets = node.targets if isinstance(node, ast.Assign) else []
    return {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}


def used(node: ast.stmt) -> set[str]:
    "Names of the notebook that a statement uses: the global ones, in whatever depth."
    def walk(table):
        for symbol in table.get_symbols():
            if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module"):
                yield symbol.get_name()
        for inner in table.get_children():
            yield from walk(inner)

    return set(walk(symtable.symtable(ast.unparse(node), "cell", "exec")))


def load(lesson: str, *names: str, folder: Path = ROOT / "nbs") -> SimpleNamespace:
    "The named functions of a lesson, with nothing executed but what they are made of."
    (path,) = folder.rglob(f"{lesson}*.ipynb")
    body = statements(project.read_notebook(path))
    missing, needed = list(names), set()
    while missing:
        name = missing.pop()
        for index, node in enumerate(body):
            if name in defined(node) and index not in needed:
                needed.add(index)
                missing += used(node)
    scope = {"__name__": lesson}
    for index in sorted(needed):
        exec(compile(ast.Module([body[index]], []), f"{path.name}", "exec"), scope)
    return SimpleNamespace(**{name: scope[name] for name in names})


def judge(check, *answer, verdict: str) -> None:
    "Fail unless a check says `verdict` (the beginning, or words in it) and raises nothing."
    said = check(*answer)
    assert said.startswith(verdict) or verdict in said, f"said {said!r}, not {verdict!r}"


HOPELESS = {  # what no exercise accepts, whatever it asks
    "nothing": lambda *given: None,
    "a string": lambda *given: "42",
    "an error": lambda *given: 1 / 0,
    "a list": lambda *given: [[1.0, 2.0], [3.0]],
    "an array": lambda *given: __import__("numpy").zeros((2, 2)),
    "too many arguments": lambda: 0,
    "complex numbers": lambda *given: torch.ones(2, 8, 12) * 1j,
    "sparse numbers": lambda *given: torch.ones(2, 3).to_sparse(),
    "no numbers at all": lambda *given: torch.ones(2, 3, device="meta"),
    "no function": None,
    "recursion": lambda *given: HOPELESS["recursion"](*given),
}
