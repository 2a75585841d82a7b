"""Write README.md and index_files/ from the home page, nbs/index.ipynb, with the outputs saved in it.

    python docs/readme.py            write
    python docs/readme.py --check    fail if what is there differs
"""
import re
import shutil
import sys
from pathlib import Path

import nbformat
import project
from nbconvert import MarkdownExporter

IMAGES = "index_files"
NOTE = "<!-- Written by docs/readme.py from nbs/index.ipynb: edit the notebook. -->\n\n"


def visible(notebook: dict) -> nbformat.NotebookNode:
    "The home page as a README shows it: no hidden cells, no folded code, no directives."
    cells = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            cells.append(nbformat.v4.new_markdown_cell(project.source(cell)))
        elif cell["cell_type"] == "code":
            found, code = project.directives(project.source(cell))
            if "hide" in found or not code.strip():
                continue
            tags = cell["metadata"].get("tags", [])
            folded = {"hide-input", "remove-input", "hide-cell"} & set(tags) or found.get("echo") == "false" or found.get("code-fold") == "true"
            new = nbformat.v4.new_code_cell("" if folded else code, outputs=[nbformat.from_dict(output) for output in cell["outputs"]])
            for output in new.outputs:  # nbformat joins multi-line texts only when it reads a file
                for kind, value in output.get("data", {}).items():
                    output["data"][kind] = "".join(value) if isinstance(value, list) else value
                output.update({"text": "".join(output["text"])} if isinstance(output.get("text"), list) else {})
            if folded and new.outputs and (alt := found.get("fig-alt")):
                new.metadata["alt"] = alt
            cells.append(new)
    return nbformat.v4.new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})


def link(
    target: str,  # as written in nbs/index.ipynb
    links: project.Links,
) -> str:
    "The same target seen from the root of the repository; absolute, for PyPI, once the account is known."
    if re.match(r"[a-z]+:|#", target):
        return target
    path, _, anchor = target.partition("#")
    path = path if path.startswith(IMAGES) else path.removeprefix("../") if path.startswith("../") else f"nbs/{path}"
    absolute = links.raw(path) if path.startswith(IMAGES) else links.source(path)
    return (absolute or path) + (f"#{anchor}" if anchor else "")


def render(links: project.Links) -> tuple[str, dict[str, bytes]]:
    "The README's text, and its images by name."
    notebook = project.read_notebook(project.NOTEBOOKS / "index.ipynb")
    text, resources = MarkdownExporter().from_notebook_node(visible(notebook), {"unique_key": "index", "output_files_dir": IMAGES})
    alts = iter(re.findall(r"fig-alt: *(.+?)\s*\n", "\n".join(project.source(cell) for cell in notebook["cells"] if cell["cell_type"] == "code")))
    text = re.sub(r"```python\s*```\n*", "", text)
    text = re.sub(r"!\[[^\]]*\]\((index_files/[^)]+)\)", lambda match: f"![{next(alts, 'figure')}]({match[1]})", text)
    text = re.sub(r"(\]\()([^)\s]+)(\))", lambda match: match[1] + link(match[2], links) + match[3], text)
    text = re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip() + "\n"
    return NOTE + text, {Path(name).name: data for name, data in resources["outputs"].items()}


def check(links: project.Links | None = None) -> None:
    text, images = render(links or project.links())
    folder = project.ROOT / IMAGES
    there = {path.name: path.read_bytes() for path in folder.glob("*")} if folder.exists() else {}
    if (project.ROOT / "README.md").read_text(encoding="utf-8") != text or there != images:
        raise SystemExit("README.md is not in step with nbs/index.ipynb: run python docs/readme.py and commit")


def write() -> None:
    text, images = render(project.links())
    (project.ROOT / "README.md").write_text(text, encoding="utf-8")
    shutil.rmtree(project.ROOT / IMAGES, ignore_errors=True)
    if images:
        (project.ROOT / IMAGES).mkdir()
    for name, data in images.items():
        (project.ROOT / IMAGES / name).write_bytes(data)


if __name__ == "__main__":
    check() if "--check" in sys.argv else write()
