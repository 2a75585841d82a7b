"The front door of the site: the shipped model, running, on a page of its own and as the home page's first screen."
import re
from pathlib import Path

import prepare
import project
import torch

from vit_from_scratch.data import load_data, load_samples
from vit_from_scratch.page import PAGE_STYLE, as_json, live_script, load_snapshots, pack_images, pack_model, read_static, unpack_model
from vit_from_scratch.weights import from_shipped

MODEL = "cifar10"
TAUGHT = ("patchify", "PatchEmbedding", "sincos_2d", "attend", "MultiHeadAttention", "Mlp", "EncoderBlock", "ViT")
PROMISE = "This Vision Transformer runs in your browser, on these photographs or your own. Nothing is installed, nothing is sent anywhere."


def lesson_places(names: tuple[str, ...] = TAUGHT) -> dict[str, str]:
    "Where each name is built: page and heading above the cell that exports it."
    found = {}
    for path in project.lesson_paths():
        section, page = "", path.relative_to(project.NOTEBOOKS).with_suffix(".html").as_posix()
        for cell in project.read_notebook(path)["cells"]:
            text = project.source(cell)
            if cell["cell_type"] == "markdown":
                section = (re.findall(r"^#{2,4} +(.+)$", text, re.M) or [section])[-1]
            elif "export" in project.directives(text)[0]:
                for name in re.findall(r"^(?:def|class) (\w+)", text, re.M):
                    if name in names:
                        found[name] = f"{page}#{prepare.slug(section)}" if section else page
    return found


@torch.no_grad()
def surest(model, samples) -> int:
    "The photograph whose right answer is given most surely."
    probabilities = model(samples.normalize(samples.images)).softmax(dim=1)
    return int(probabilities.gather(1, samples.labels[:, None]).argmax())


# A wrong answer that a reader can take apart: a cat's head before the sky, chosen by hand. Patches by eye, numbered row by row.
PUZZLE = 30
EAR = (6, 13, 14, 22)
SKY = (1, 2, 3, 4, 5, 7, 9, 10, 11, 12, 15, 17, 25, 26, 34)


@torch.no_grad()
def puzzle_of(model, samples) -> dict:
    "The wrong answer with three explanations, each a test that the reader makes."
    patches = range(model.patch_embed.num_patches)
    elsewhere = [n for n in patches if n not in EAR]
    tests = [
        {"belief": "The sky: airplanes fly, so blue around something means airplane.", "act": "Hide the sky", "hidden": SKY, "because": "So the blue around the cat's head decides."},
        {"belief": "The ear on the right: dark and pointed against the sky, like a tail fin.", "act": "Hide that ear", "hidden": EAR,
         "because": "So the word airplane hangs on one ear: without it the model says bird, and still not cat. (That it takes the ear for a tail fin stays a guess.)"},
        {"belief": "No place in particular: hide enough anywhere, and it changes its mind.", "act": f"Hide {len(EAR)} other patches", "from": elsewhere, "number": len(EAR),
         "because": "So any loss of that size would do."},
    ]  # fmt: skip
    more = {"question": "And if nothing is left to see?", "act": "Hide everything", "hidden": list(patches),
            "because": "An empty grey picture is an airplane to it, too. So grey speaks for airplane: the test of the sky is worth less than it looked, and that of the ear more."}  # fmt: skip
    says = int(model(samples.normalize(samples.images[PUZZLE : PUZZLE + 1])).argmax())
    return {"image": PUZZLE, "says": says, "label": int(samples.labels[PUZZLE]), "tests": tests, "more": more}


def write_scripts(
    folder: Path,  # of the site's own files
) -> float:  # megabytes of the weights
    "Style, code, pictures and weights apart, so that the page stands before they are there."
    packed, samples = pack_model(from_shipped(MODEL), "int8"), load_samples(MODEL)
    model = unpack_model(packed)
    onward = [["Watch one learn.", "training.html"], ["Build it yourself, lesson by lesson.", "index.html"]]
    known = {"onward": onward, "title": "A Vision Transformer in this page", "names": ["trained", "untrained"], "comparable": [0, 1], "first": surest(model, samples), "puzzle": puzzle_of(model, samples), "lessons": lesson_places()}
    pictures = {"images": pack_images(model, samples.images, samples.labels)}
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "live.css": read_static("explorer.css") + read_static("live.css"),
        "live.js": live_script(),
        "pictures.js": f"globalThis.VIT_FRONT = {as_json(known)};\nglobalThis.VIT_PICTURES = {as_json(pictures)};\n",
        "weights.js": f"globalThis.VIT_MODELS = {as_json([packed, {'base': 0, 'seed': 1}])};\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    write_training(folder)
    return len(files["weights.js"]) / 1e6


def write_training(folder: Path) -> None:
    "A recorded training of the shapes preset, as a script for training.html."
    run, data = load_snapshots(project.PACKAGE / "recorded" / "shapes_training.safetensors"), load_data("shapes", limit=1000)
    last = unpack_model(run.models[-1])
    page = {"title": "A Vision Transformer learns", "names": run.names(), "models": run.models, "training": {"first": 0} | run.curve(), "lessons": lesson_places()}
    page |= {"images": pack_images(last, data.valid.images[:40], data.valid.labels[:40]), "model": len(run.models) - 1, "tab": 3}
    (folder / "training.js").write_text(f"globalThis.VIT_TRAINING = {as_json(page)};\n", encoding="utf-8")


def placeholder(size: float) -> str:
    "What stands in the explorer's place until it is there."
    text, style = f"loading the model ({size:.1f} MB) …", "border:1px dashed currentColor;border-radius:8px;min-height:22rem;display:grid;place-content:center;padding:1rem"
    boxes = "".join(f'<div style="{style}"{hidden}>{what}: {text}</div>' for what, hidden in (("The picture", ' role="status"'), ("Where it looks", ' aria-hidden="true"'), ("Its answers", ' aria-hidden="true"')))
    grid = f'<div style="display:grid;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr));gap:1rem">{boxes}</div>'
    return f'<div class="vit-front" data-vit-front data-size="{size:.1f} MB">{grid}</div><noscript><style>.vit-front{{display:none}}</style>The explorer needs JavaScript.</noscript>'


def home_part(size: float) -> str:
    "The explorer as a part of the home page, in MyST."
    return "\n".join([
        PROMISE + ' <a href="explore.html">Open it on a page of its own.</a>', "",
        "```{raw} html", '<link rel="stylesheet" href="_static/front/live.css">', placeholder(size), '<script src="_static/front.js" defer></script>', "```",
    ])  # fmt: skip


def whole_page(title: str, text: str, place: str) -> str:
    "A page without the site's frame, for an explorer that takes the whole window."
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    style = f'<style>{PAGE_STYLE}.vit-front{{min-height:60vh}}</style><link rel="stylesheet" href="_static/front/live.css">'
    body = f'<main><h1>{title}</h1><p>{text}</p>{place}</main><script src="_static/front.js"></script>'
    return f'<!doctype html>\n<html lang="en"><head>{head}{style}</head><body>{body}</body></html>\n'


def explore_page(size: float) -> str:
    "The explorer with the whole window to itself."
    more = '<a href="training.html">Watch one learn.</a> <a href="index.html">Build it yourself, lesson by lesson.</a>'
    return whole_page("Look inside a Vision Transformer", f"{PROMISE} {more}", placeholder(size))


def training_page() -> str:
    "The recorded training."
    text = "One training run on the built-in shapes, kept at ten moments. Drag the slider below the picture: heads, positions, lens and answer are computed with the weights of that moment. "
    more = '<a href="explore.html">Look inside a model of photographs.</a> <a href="index.html">Build it yourself, lesson by lesson.</a>'
    return whole_page("A Vision Transformer learns", text + more, '<div class="vit-front" data-vit-front="training">The run is being loaded …</div>')
