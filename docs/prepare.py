"Turn executed notebooks, saved results and the exported modules into the pages that Sphinx reads."
import builtins
import inspect
import json
import re
import shutil
from importlib import import_module
from pathlib import Path

import nbformat
import project
from fastcore.docments import docments

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
TAGS = {"echo": "remove-input", "output": "remove-output"}


# ---------------------------------------------------------------- the library's public names
def modules() -> dict[str, str]:
    "Exported modules in the order of their notebooks, with the notebook each one comes from, such as `workshop/weights.ipynb`."
    found = {}
    for path in project.lesson_paths():
        for cell in project.read_notebook(path)["cells"]:
            if name := project.directives(project.source(cell))[0].get("default-exp"):
                found[name] = project.name_of(path)
    return found


def public(module_name: str) -> list[str]:
    "Names of a module's `__all__`, in the order of its source."
    module = import_module(f"{project.PACKAGE.name}.{module_name}")
    text = inspect.getsource(module)
    def place(name: str) -> int:
        match = re.search(rf"^(?:class |def |async def )?{re.escape(name)}\b(?! *,)", text, re.M)
        return match.start() if match else len(text)
    return sorted(module.__all__, key=place)


def symbols() -> dict[str, str]:
    "Public name → module; a name that two modules share is left out."
    found: dict[str, str] = {}
    twice = set()
    for module in modules():
        for name in public(module):
            twice |= {name} & found.keys()
            found.setdefault(name, module)
    return {name: module for name, module in found.items() if name not in twice}


def role(text: str, module: str, name: str) -> str:
    "A link to a name's place in the API reference; Sphinx complains when there is none."
    return f"{{py:obj}}`{text} <{project.PACKAGE.name}.{module}.{name}>`"


# ---------------------------------------------------------------- API pages
def annotation(value: object) -> str:
    "A type as one writes it."
    if value is inspect.Parameter.empty:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, type) and not getattr(value, "__args__", None):
        return value.__name__
    return re.sub(r"\b(?:[a-z_]\w*\.)+(?=[A-Za-z_])", "", str(value))


def default(value: object) -> str:
    if value is inspect.Parameter.empty:
        return ""
    value = getattr(value, "default", value) if type(value).__name__ in ("OptionInfo", "ArgumentInfo", "FieldInfo") else value
    if isinstance(value, type(Ellipsis)) or type(value).__name__ == "PydanticUndefinedType":
        return ""
    text = value.__name__ if inspect.isfunction(value) or inspect.isclass(value) else repr(value)
    return text if len(text) <= 60 and " at 0x" not in text else "…"


def cell(text: object) -> str:
    "Text that may stand in a table."
    return str(text or "").replace("|", r"\|").replace("\n", " ").strip()


def code(text: str) -> str:
    return f"`{cell(text)}`" if text else ""


def field_comments(cls: type) -> dict[str, str]:
    "Comments that stand behind the fields of a class body."
    found = {}
    for line in inspect.getsource(cls).split("\n"):
        if match := re.match(r"    (\w+) *:[^#]*#\s*(.+)$", line):
            found[match[1]] = match[2].strip()
    return found


def parameters(thing: object) -> tuple[str, list[tuple[str, str, str, str]]]:
    "Signature without types, and one row (name, type, default, meaning) per parameter; from docments."
    function = thing.__init__ if inspect.isclass(thing) else thing
    try:
        signature = inspect.signature(thing)
    except (TypeError, ValueError):
        return "()", []
    is_model = inspect.isclass(thing) and (hasattr(thing, "model_fields") or hasattr(thing, "__dataclass_fields__"))
    if is_model:
        comments, notes = field_comments(thing), {}
        fields = getattr(thing, "model_fields", {})
        comments |= {name: field.description for name, field in fields.items() if getattr(field, "description", None)}
        defaults = {name: field.default for name, field in fields.items() if field.default_factory is None}
    else:
        comments, defaults = {}, {}
        notes = docments(function, full=True, returns=True) if inspect.isfunction(function) else {}
    rows, parts, keyword_only, positional_only = [], [], False, False
    for name, parameter in signature.parameters.items():
        if name == "self":
            continue
        value = defaults.get(name, parameter.default)
        shown = default(value)
        star = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            parts.append("*")
        keyword_only = keyword_only or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        if positional_only and parameter.kind is not parameter.POSITIONAL_ONLY:
            parts.append("/")
        positional_only = parameter.kind is parameter.POSITIONAL_ONLY
        parts.append(f"{star}{name}" + (f"={shown}" if shown else "=…" if parameter.default is not parameter.empty else ""))
        meaning = comments.get(name) or (notes.get(name) or {}).get("docment") or ""
        rows.append((star + name, annotation(parameter.annotation), shown, meaning))
    if positional_only:
        parts.append("/")
    result = notes.get("return") or {}
    empty = inspect.Parameter.empty
    if not inspect.isclass(thing) and (result.get("docment") or result.get("anno", empty) not in (empty, None, type(None))):
        rows.append(("*returns*", annotation(result.get("anno", empty)), "", result.get("docment") or ""))
    return f"({', '.join(parts)})", rows


def table(rows: list[tuple[str, str, str, str]]) -> str:
    if not rows:
        return ""
    lines = ["| Parameter | Type | Default | Meaning |", "|:--|:--|:--|:--|"]
    lines += [f"| {name if name.startswith('*returns') else code(name)} | {code(kind)} | {code(value)} | {cell(meaning)} |" for name, kind, value, meaning in rows]
    return "\n".join(lines)


def source_link(thing: object, links: project.Links) -> str:
    if not links.user:
        return ""
    try:
        lines, start = inspect.getsourcelines(thing)
        path = Path(inspect.getsourcefile(thing)).resolve().relative_to(project.ROOT)
    except (TypeError, OSError, ValueError):
        return ""
    return f'<a class="source-link" href="{links.source(path.as_posix())}#L{start}-L{start + len(lines) - 1}">source</a>\n\n'


def describe(name: str, thing: object, links: project.Links, known: dict[str, str], kind: str, depth: int = 0) -> str:
    "One name as a directive of Sphinx's Python domain."
    fence = ":" * (6 - depth)
    own_doc = vars(thing).get("__doc__") if inspect.isclass(thing) else getattr(thing, "__doc__", None)  # not what a base class says
    text = inspect.cleandoc(own_doc or "") if kind != "data" else ""
    if inspect.isclass(thing) and text.startswith(f"{name}("):
        text = ""  # what @dataclass writes by itself
    if kind in ("data", "property"):
        signature, rows = "", []
    else:
        signature, rows = parameters(thing)
    body = [f"{fence}{{py:{kind}}} {name}{signature}", "", source_link(thing, links), linked(text, known, {name}), ""]
    if kind == "data":
        shown = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", repr(thing))
        body += ["```text", shown if len(shown) < 1500 else shown[:1500] + " …", "```", ""]
    body += [linked(table(rows), known, {name}), ""]
    if inspect.isclass(thing):
        for member, value in vars(thing).items():
            value = value.__func__ if isinstance(value, (classmethod, staticmethod)) else value
            function = value.fget if isinstance(value, property) else value
            shown = not member.startswith("_") or member in ("__call__", "__iter__", "__len__")
            if shown and inspect.isfunction(function) and function.__module__ == thing.__module__ and inspect.getdoc(function):
                body.append(describe(member, function, links, known, "property" if isinstance(value, property) else "method", depth + 1))
    return "\n".join([*body, fence, ""])


def api_page(module_name: str, notebook: str, links: project.Links, known: dict[str, str]) -> str:
    module = import_module(f"{project.PACKAGE.name}.{module_name}")
    lesson = project.title(project.read_notebook(project.NOTEBOOKS / notebook))
    lines = [f"# {module_name}", "", f"> {inspect.getdoc(module) or ''}", "", f"Built and explained in [{lesson}](../{notebook}).", ""]
    if links.user:
        lines += [f"[Source of the whole module]({links.source(f'{project.PACKAGE.name}/{module_name}.py')}).", ""]
    lines += [f"```{{py:module}} {project.PACKAGE.name}.{module_name}", "```", ""]
    for name in public(module_name):
        thing = getattr(module, name)
        kind = "class" if inspect.isclass(thing) else "function" if callable(thing) and hasattr(thing, "__name__") else "data"
        lines += [describe(name, thing, links, known, kind), ""]
    return "\n".join(lines)


# ---------------------------------------------------------------- prose
def slug(text: str) -> str:
    "The anchor that MyST makes of a heading."
    return re.sub(r"[^\w\- ]", "", text.strip().lower().replace("`", "")).replace(" ", "-")


def linked(
    text: str,  # Markdown
    known: dict[str, str],  # public name → module
    done: set[str],  # names that need no link any more; grows
) -> str:
    "Link the first `name` of each public name to its place in the API reference."
    def replace(match: re.Match) -> str:
        name = match[1].removesuffix("()")
        name = name.rpartition(".")[2] if name.startswith(project.PACKAGE.name) else name
        if name not in known or name in done:
            return match[0]
        done.add(name)
        return role(match[1], known[name], name)

    pieces = re.split(r"(```.*?```|^#[^\n]*$|\[[^\]]*\]\([^)]*\)|\{[\w:]+\}`[^`]*`|\$\$.*?\$\$)", text, flags=re.S | re.M)
    return "".join(piece if i % 2 else re.sub(r"(?<![`\[])`([\w.]+(?:\(\))?)`(?!`)", replace, piece) for i, piece in enumerate(pieces))


def mended_links(text: str, links: project.Links) -> str:
    "Links between notebooks keep working; links to files outside the notebooks go to the repository, or become plain text."
    def replace(match: re.Match) -> str:
        label, address = match[1], match[2]
        if address.startswith("../") and not address.partition("#")[0].endswith(".ipynb"):
            path = re.sub(r"^(\.\./)+", "", address)
            return f"[{label}]({links.source(path)})" if links.user else label
        if re.match(r"[a-z]+:", address):
            return match[0]
        path, _, anchor = address.partition("#")
        return f"[{label}]({path}{'#' + slug(anchor.replace('-', ' ')) if anchor else ''})"

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", replace, text)


def bar(path: Path, links: project.Links) -> str:
    "What one can do with a lesson: take it away, open it elsewhere, change it."
    inside = path.relative_to(project.ROOT).as_posix()
    depth = "../" * (len(path.relative_to(project.NOTEBOOKS).parts) - 1)
    items = [f'<a href="{depth}notebooks/{path.name}" download="{path.name}">Download this notebook</a>']
    if links.user:
        items += [f'<a href="{links.colab(inside)}">Open in Colab</a>', f'<a href="{links.edit(inside)}">Edit on GitHub</a>']
    return '<p class="notebook-bar">' + "".join(items) + "</p>"


# ---------------------------------------------------------------- notebooks
def clean_output(output: dict, widgets: dict) -> dict | None:
    output = json.loads(json.dumps(output))
    for kind, value in output.get("data", {}).items():
        if isinstance(value, list):
            output["data"][kind] = "".join(value)
    if isinstance(output.get("text"), list):
        output["text"] = "".join(output["text"])
    view = output.get("data", {}).get(WIDGET_VIEW)
    if view and view["model_id"] not in widgets:
        del output["data"][WIDGET_VIEW]
        if not set(output["data"]) - {"text/plain"}:
            return None
    return output


def one_notebook(
    path: Path,  # executed notebook
    original: Path,  # the notebook of the repository
    links: project.Links,
    known: dict[str, str],  # public name → module
) -> nbformat.NotebookNode:
    raw = project.read_notebook(path)
    widgets = raw["metadata"].get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    cells, done, section, module, first = [], set(), "", "", True
    for item in raw["cells"]:
        text = project.source(item)
        if item["cell_type"] == "markdown":
            headings = re.findall(r"^#+ +(.+)$", text, re.M)
            section = headings[-1] if headings else section
            text = linked(mended_links(text, links), known, done)
            if first and re.match(r"# ", text):
                head, _, rest = text.partition("\n")
                text, first = f"{head}\n\n{bar(original, links) if original.name != 'index.ipynb' else ''}\n\n{rest.strip()}", False
            cells.append(nbformat.v4.new_markdown_cell(text))
        elif item["cell_type"] == "code":
            found, body = project.directives(text)
            module = found.get("default-exp", module)
            if "hide" in found or found.get("include") == "false" or not body.strip():
                continue
            tags = list(item["metadata"].get("tags", []))
            tags += [tag for name, tag in TAGS.items() if found.get(name) == "false"]
            folded = item["metadata"].get("jupyter", {}).get("source_hidden") or found.get("code-fold") == "true" or "hide-input" in found
            if folded and not {"hide-input", "remove-input", "hide-cell"} & set(tags):
                tags.append("hide-input")
            outputs = [output for output in (clean_output(output, widgets) for output in item.get("outputs", [])) if output]
            alt = found.get("fig-alt") or f"Figure drawn by the code of this section: {section}".replace("`", "").replace("$", "")
            cells.append(
                nbformat.v4.new_code_cell(
                    body, outputs=[nbformat.from_dict(output) for output in outputs], metadata={"tags": tags, "mystnb": {"image": {"alt": alt}}}
                )
            )
            if module and {"export", "exports"} & found.keys():
                names = [name for name in re.findall(r"^(?:def|class) (\w+)|^(\w+)(?: *:[^=]+)? *= ", body, re.M) for name in name if known.get(name) == module]
                if names:
                    cited = ", ".join(role(name, module, name) for name in dict.fromkeys(names))
                    done.update(names)
                    cells.append(nbformat.v4.new_markdown_cell(f":::{{container}} in-library\nIn the library: {cited}\n:::"))
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
    if widgets:
        metadata["widgets"] = {WIDGET_STATE: raw["metadata"]["widgets"][WIDGET_STATE]}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata=nbformat.from_dict(metadata))
    nbformat.validate(notebook)
    return notebook


def tree(caption: str, names: list[str]) -> str:
    return "\n".join(["```{toctree}", ":hidden:", f":caption: {caption}", ":maxdepth: 1", "", *names, "```", ""])


def as_markdown(path: Path) -> str:
    "A notebook as plain text, for programs that read."
    parts = []
    for item in project.read_notebook(path)["cells"]:
        found, body = project.directives(project.source(item))
        if item["cell_type"] == "markdown":
            parts.append(project.source(item))
        elif item["cell_type"] == "code" and "hide" not in found and body.strip():
            parts.append(f"```python\n{body}\n```")
    return "\n\n".join(parts) + "\n"


def llms(links: project.Links) -> str:
    "The site in one page for language models (llmstxt.org)."
    base = links.docs + "/" if links.user else ""
    values = project.settings()
    lines = [f"# {values['title']}", "", f"> {values['description']}"]
    home = project.NOTEBOOKS / "index.ipynb"
    for heading, paths in (("Course", [home, *project.course_paths()]), ("Workshop", project.workshop_paths()), ("Results", project.result_paths())):
        lines += ["", f"## {heading}", ""] if paths else []
        for path in paths:
            notebook = project.read_notebook(path)
            lines.append(f"- [{project.title(notebook)}]({base}text/{path.stem}.md): {project.promise(notebook)}")
    lines += ["", "## API reference", ""]
    for module in modules():
        doc = inspect.getdoc(import_module(f"{project.PACKAGE.name}.{module}")) or ""
        lines.append(f"- [{project.PACKAGE.name}.{module}]({base}api/{module}.html): {doc}")
    return "\n".join(lines) + "\n"


def prepare(
    pages: Path,  # folder for what Sphinx reads
    extra: Path,  # folder for what is copied to the site as it is
    links: project.Links,
    front: str = "",  # what stands first on the home page, below its title
) -> None:
    "Write every page."
    for folder in (pages, extra):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    known = symbols()
    known = {name: module for name, module in known.items() if name not in vars(builtins)}
    (pages / "api").mkdir()
    (extra / "notebooks").mkdir()
    (extra / "text").mkdir()
    saved = project.result_paths()
    originals = project.lesson_paths() + saved
    for original in originals:
        inside = original.relative_to(project.NOTEBOOKS)
        path = project.EXECUTED / inside
        if original in saved:  # results keep their outputs
            path = original
        elif not path.exists():
            raise SystemExit(f"the site was not built: {project.name_of(original)} has not been executed; run python tests/run_lessons.py")
        notebook = one_notebook(path, original, links, known)
        if original.name == "index.ipynb":
            if front:
                title = next(i for i, cell in enumerate(notebook.cells) if cell.cell_type == "markdown" and cell.source.startswith("# "))
                head, _, rest = notebook.cells[title].source.partition("\n")
                notebook.cells[title].source = f"{head}\n\n{front}\n\n{rest.strip()}"
            trees = [tree("Course", [item.stem for item in project.course_paths()])]
            trees.append(tree("Workshop", [f"workshop/{item.stem}" for item in project.workshop_paths()]))
            if project.result_paths():
                trees.append(tree("Results", [f"results/{item.stem}" for item in project.result_paths()]))
            trees.append(tree("API reference", [f"api/{module}" for module in modules()]))
            notebook.cells.append(nbformat.v4.new_markdown_cell("\n".join(trees)))
        (pages / inside).parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, pages / inside)
        shutil.copy(original, extra / "notebooks" / original.name)
        (extra / "text" / f"{original.stem}.md").write_text(as_markdown(original), encoding="utf-8")
    for module, notebook_name in modules().items():
        (pages / "api" / f"{module}.md").write_text(api_page(module, notebook_name, links, known), encoding="utf-8")
    (extra / "llms.txt").write_text(llms(links), encoding="utf-8")
