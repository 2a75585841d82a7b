"""The model in the page: its JavaScript against PyTorch, in Node and in Chromium, and the pages that carry it."""

import base64
import json
import random
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import torch

from vit_from_scratch.data import load_samples
from vit_from_scratch.interpret import ablate_heads, attention_maps, logit_lens, relevance, rollout
from vit_from_scratch.page import (
    LIVE_PARTS,
    MODEL_PARTS,
    Snapshots,
    export_html,
    load_snapshots,
    model_script,
    pack_model,
    read_static,
    unpack_model,
)
from vit_from_scratch.patch_embedding import patchify, unpatchify
from vit_from_scratch.vit import ViT

NODE = shutil.which("node")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
PATIENCE = 180_000  # milliseconds that a busy machine may take; nothing is measured against it
NAMES = "unpackModel, normalise, forward, logitLens, rollout, relevance"
PRECISIONS = ["float16", "int8", "float32"]


def random_arguments(seed: int) -> dict:
    "A ViT drawn at random, small enough for a test."
    draw = random.Random(seed)
    num_heads, patch = draw.choice([1, 2, 3, 4]), draw.choice([2, 3, 4])
    return dict(
        image_size=(patch * draw.randint(2, 6), patch * draw.randint(2, 6)), patch_size=patch, in_channels=draw.choice([1, 3]),
        num_classes=draw.randint(2, 9), embed_dim=4 * num_heads * draw.randint(1, 5), depth=draw.randint(1, 4), num_heads=num_heads,
        mlp_ratio=draw.choice([1.5, 2.0, 4.0]), qkv_bias=draw.random() < 0.7, qk_norm=draw.random() < 0.5, num_registers=draw.choice([0, 0, 1, 3]),
        pos_embed=draw.choice(["learned", "sincos", "none"]), pool=draw.choice(["cls", "avg"]), norm_eps=draw.choice([1e-6, 1e-5]),
    )  # fmt: skip


def lively(arguments: dict, seed: int) -> ViT:
    "A ViT whose every weight, bias and norm counts, so that a part that is left out shows."
    torch.manual_seed(seed)
    model = ViT(**arguments)
    for name, p in model.named_parameters():
        p.data = torch.randn_like(p) * (0.3 if p.ndim > 1 else 0.2) + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
    C = arguments["in_channels"]
    model.mean, model.std = torch.rand(C).tolist(), (0.2 + torch.rand(C)).tolist()
    return model.eval()


def packed_json(packed: dict) -> dict:
    return packed | {"bytes": base64.b64encode(packed["bytes"]).decode()}


CASE = """
function encode(array) { // float32 as base64
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return btoa(text);
}
function solve({ packed, images, requests, brief }) {
  const model = unpackModel(packed);
  return requests.map(({ index, off, skip, target }) => {
    const pixels = normalise(model, Uint8Array.from(images[index])), options = { off, skip }, result = forward(model, pixels, options);
    return {
      logits: encode(result.logits), probabilities: encode(result.probabilities),
      weights: result.blocks.map((block) => encode(block.weights ?? new Float32Array(0))),
      ...(brief ? {} : rest(model, result, target, options)),
    };
  });
}
function rest(model, result, target, options) {
  return {
      lens: logitLens(model, result).map(encode), rollout: rollout(model, result).map(encode),
      relevance: relevance(model, result, target, options).map(encode),
  };
}
"""


def in_node(cases: list[dict]) -> list:
    "What the JavaScript computes, in Node."
    code = f"const {{ {NAMES} }} = vitModule();\n{CASE}\nprocess.stdout.write(JSON.stringify(JSON.parse(require('fs').readFileSync(0)).map(solve)));"
    done = subprocess.run([NODE, "-e", model_script() + code], input=json.dumps(cases).encode(), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    return json.loads(done.stdout)


def in_python(model: ViT, image: torch.Tensor, off=(), skip=(), target=0) -> dict:
    "The same numbers from PyTorch; `image`: uint8 (C, H, W)."
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (model.mean, model.std))
    pixels = ((image.float() / 255 - mean) / std)[None]
    blocks = model.blocks
    model.blocks = torch.nn.ModuleList([block for i, block in enumerate(blocks) if i not in skip])
    pairs = [(b - sum(s < b for s in skip), head) for b, head in off if b not in skip]
    try:
        with ablate_heads(model, pairs):
            weights, logits = attention_maps(model, pixels) if len(model.blocks) else [], model(pixels) if len(model.blocks) else None
            return {
                "logits": logits[0].detach(), "probabilities": logits[0].softmax(0).detach(), "weights": weights[:, 0], "lens": logit_lens(model, pixels)[:, 0],
                "rollout": torch.stack([rollout(weights[: i + 1])[0] for i in range(len(weights))]),
                "relevance": relevance(model, pixels, target)[0] - torch.eye(weights.shape[-1]),
            }  # fmt: skip
    finally:
        model.blocks = blocks


def hidden_patches(image: torch.Tensor, patch: int, masked: list[int], grey: list[int], order: list[int] | None = None) -> torch.Tensor:
    "The picture with some patches painted over and the others in another order, as the page changes it."
    patches = patchify(image[None].float(), patch)
    patches = patches if order is None else patches[:, order]
    colour = torch.tensor(grey).float().repeat_interleave(patch**2)
    patches[:, masked] = colour
    return unpatchify(patches, patch, tuple(image.shape[-2:]))[0].to(torch.uint8)


def decoded(text: str) -> torch.Tensor:
    return torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.float32)


def channels_last(image: torch.Tensor) -> list[int]:
    return image.permute(1, 2, 0).flatten().tolist()


def differences(found: dict, wanted: dict, kept: list[int]) -> dict[str, float]:
    "The largest difference of each kind of number; `kept`: the blocks that were not skipped."
    largest = {}
    for name, values in wanted.items():
        if name not in found:
            continue
        given = found[name]
        if name == "weights":
            given = [given[i] for i in kept]
        elif name == "lens":
            given = [given[0], *(given[i + 1] for i in kept)]
        elif name == "rollout":
            given = [given[i] for i in kept]
        elif name == "relevance":
            given = given[kept[-1]]
        given = torch.cat([decoded(part) for part in given]) if isinstance(given, list) else decoded(given)
        given = given.reshape(values.shape)
        largest[name] = (given - values).abs().max().item()
    return largest


LIMITS = {"logits": 1e-4, "probabilities": 1e-5, "weights": 1e-5, "lens": 1e-4, "rollout": 1e-5, "relevance": 1e-3}


def parity_cases() -> list[tuple[ViT, dict, list[dict]]]:
    "Twelve ViTs drawn at random, each with a plain picture, heads off, a block passed by, patches hidden, patches shuffled."
    cases = []
    for seed in range(12):
        arguments = random_arguments(seed)
        packed = pack_model(lively(arguments, seed), PRECISIONS[seed % 3])
        model, draw = unpack_model(packed), random.Random(seed)
        image = torch.randint(0, 256, (arguments["in_channels"], *model.patch_embed.image_size), dtype=torch.uint8)
        N, patch, L, h = model.patch_embed.num_patches, arguments["patch_size"], arguments["depth"], arguments["num_heads"]
        grey, order = [round(255 * m) for m in model.mean], draw.sample(range(N), N)
        images = [image, hidden_patches(image, patch, draw.sample(range(N), N // 2), grey), hidden_patches(image, patch, [], grey, order)]
        off = [(draw.randrange(L), draw.randrange(h)) for _ in range(2)]
        requests = [{"index": i, "off": [], "skip": []} for i in range(3)] + [{"index": 0, "off": off, "skip": []}]
        if L > 1:
            requests.append({"index": 0, "off": [], "skip": [draw.randrange(L)]})
        requests = [request | {"target": draw.randrange(arguments["num_classes"])} for request in requests]
        cases.append((model, {"packed": packed_json(packed), "images": [channels_last(x) for x in images], "requests": requests}, images))
    return cases


def check_parity(compute, cases) -> dict[str, float]:
    "The largest differences over all cases; each must lie below its limit."
    worst = dict.fromkeys(LIMITS, 0.0)
    for (model, case, images), answers in zip(cases, compute([case for _, case, _ in cases]), strict=True):
        for request, found in zip(case["requests"], answers, strict=True):
            wanted = in_python(model, images[request["index"]], request["off"], request["skip"], request["target"])
            kept = [i for i in range(len(model.blocks)) if i not in request["skip"]]
            for name, value in differences(found, wanted, kept).items():
                scale = max(1.0, wanted[name].abs().max().item()) if name in ("lens", "logits", "relevance") else 1.0
                worst[name] = max(worst[name], value / scale)
    assert all(worst[name] <= limit for name, limit in LIMITS.items()), worst
    return worst


def shipped_cases(name: str, precision: str, start: int, stop: int) -> list:
    "Samples that come with the package, before a model that comes with it."
    packed, samples = pack_model(ViT.from_shipped(name), precision), load_samples("cifar10").images[start:stop]
    requests = [{"index": i, "off": [], "skip": [], "target": 0} for i in range(len(samples))]
    case = {"packed": packed_json(packed), "images": [channels_last(x) for x in samples], "requests": requests, "brief": True}
    return [(unpack_model(packed), case, samples)]


needs_node = pytest.mark.skipif(NODE is None, reason="no Node.js on this machine")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install it (Debian: apt install chromium)")


@pytest.fixture(scope="module")
def driver():
    "Playwright, of which a thread can hold one at a time."
    with pytest.importorskip("playwright.sync_api").sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def browser(driver):
    chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
    yield chromium
    chromium.close()


@pytest.fixture
def in_chromium(browser):
    "What the JavaScript computes, in Chromium."
    page = browser.new_page()
    page.add_script_tag(content=model_script() + f"var {{ {NAMES} }} = vitModule();\n{CASE}")
    yield lambda cases: [page.evaluate("solve", case) for case in cases]
    page.close()


@needs_node
def test_random_models_in_node():
    print(check_parity(in_node, parity_cases()))


@needs_browser
def test_random_models_in_chromium(in_chromium):
    print(check_parity(in_chromium, parity_cases()))


@needs_node
@pytest.mark.parametrize("name", ["cifar10", "shapes"])
def test_shipped_models_in_node(name):
    for start in range(0, 100, 25):
        print(check_parity(in_node, shipped_cases(name, "int8", start, start + 25)))


@needs_browser
@pytest.mark.parametrize("name", ["cifar10", "shapes"])
def test_shipped_models_in_chromium(in_chromium, name):
    for start in range(0, 100, 25):
        print(check_parity(in_chromium, shipped_cases(name, "float16", start, start + 25)))


# ---------------------------------------------------------------- pages in Chromium, opened from disk
AXE = Path(__file__).resolve().parent.parent / "docs" / "node_modules" / "axe-core" / "axe.min.js"


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    "The shipped model on its samples, exported as anybody would."
    samples = load_samples("cifar10")
    return export_html(ViT.from_shipped("cifar10"), samples.images, tmp_path_factory.mktemp("page") / "page.html", samples.labels, precision="int8")


@pytest.fixture(scope="module")
def packed_model():
    return unpack_model(pack_model(ViT.from_shipped("cifar10"), "int8"))


@pytest.fixture
def visit(browser):
    "Open a file; every other request is blocked and counted, and no error may stand in the console."
    contexts, outside, errors = [], [], []

    def open_file(path, address="", width=1280, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page = context.new_page()

        def gate(route):
            if route.request.url.startswith((path.parent.as_uri(), "blob:", "data:")):
                return route.continue_()
            outside.append(route.request.url)
            route.abort()

        context.route("**/*", gate)
        page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(path.as_uri() + address)
        settled(page)
        return page

    yield open_file
    for context in contexts:
        context.close()
    assert outside == [] and errors == []


def drawn(page) -> None:
    "Wait until what was asked is drawn: a drawing waits for the next animation frame, whenever this machine shows it."
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done())))")


def settled(page) -> None:
    "Wait until the page has computed what it was asked last."
    page.wait_for_selector(".vfs-bar")
    page.wait_for_function("!document.querySelector('.vfs-live').hasAttribute('aria-busy')")
    drawn(page)


def answers(page) -> dict[str, str]:
    "The bars as they are read: class and probability."
    names, shares = page.locator(".vfs-bar span").all_inner_texts(), page.locator(".vfs-bar b").all_inner_texts()
    return {name: share.split(" %")[0] for name, share in zip(names, shares, strict=True)}


def as_shown(model: ViT, logits: torch.Tensor) -> dict[str, str]:
    "Probabilities as the page writes them."
    shares = {name: 100 * p for name, p in zip(model.classes, logits.softmax(0).tolist(), strict=True)}
    return {name: "100" if x >= 99.95 else f"{x:.{2 if x < 9.95 else 1}f}" for name, x in shares.items()}


def close(found: dict[str, str], wanted: dict[str, str]) -> bool:
    "Equal to what is printed, give or take one in the last place where PyTorch stands on the edge of rounding."
    return found.keys() == wanted.keys() and all(abs(float(found[k]) - float(wanted[k])) < (0.011 if float(wanted[k]) < 9.95 else 0.11) for k in wanted)


def normalised(model: ViT, image: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (model.mean, model.std))
    return ((image.float() / 255 - mean) / std)[None]


@torch.no_grad()
def logits_of(model: ViT, image: torch.Tensor) -> torch.Tensor:
    return model(normalised(model, image))[0]


@needs_browser
def test_answers_hiding_and_switching_off_equal_pytorch(visit, page_file, packed_model):
    image, model = load_samples("cifar10").images[7], packed_model
    grey = [round(255 * m) for m in model.mean]
    for address, wanted in {
        "#image=7": logits_of(model, image),
        "#image=7&hidden=3_20_21": logits_of(model, hidden_patches(image, 4, [3, 20, 21], grey)),
        "#image=7&off=0.1_2.3": in_python(model, image, [(0, 1), (2, 3)])["logits"],
        "#image=7&skip=3": in_python(model, image, skip=[3])["logits"],
    }.items():
        page = visit(page_file, address)
        assert close(answers(page), as_shown(model, wanted)), address
        assert page.evaluate("location.hash") == address


@needs_browser
def test_hiding_and_shuffling_by_hand(visit, page_file, packed_model):
    page, image = visit(page_file, "#image=12"), load_samples("cifar10").images[12]
    page.get_by_role("button", name="Hide", exact=True).click()
    box = page.locator("canvas.vfs-main").bounding_box()
    for column in (0, 3):
        page.mouse.click(box["x"] + (column + 0.5) * box["width"] / 8, box["y"] + 1.5 * box["height"] / 8)
    settled(page)
    grey = [round(255 * m) for m in packed_model.mean]
    assert page.evaluate("location.hash") == "#image=12&hidden=8_11&tool=hide"
    assert close(answers(page), as_shown(packed_model, logits_of(packed_model, hidden_patches(image, 4, [8, 11], grey))))
    page.get_by_role("button", name="As it was").click()
    page.get_by_role("button", name="Shuffle the patches").click()
    settled(page)
    seen = page.evaluate("[...document.querySelector('.vfs-small').getContext('2d').getImageData(0, 0, 32, 32).data].filter((_, i) => i % 4 < 3)")
    seen = torch.tensor(seen, dtype=torch.uint8).view(32, 32, 3).permute(2, 0, 1)
    patches, shuffled = (sorted(map(tuple, patchify(x[None].float(), 4)[0].tolist())) for x in (image, seen))
    assert patches == shuffled and not torch.equal(seen, image)
    assert close(answers(page), as_shown(packed_model, logits_of(packed_model, seen)))


@needs_browser
def test_pictures_of_every_kind(visit, page_file, tmp_path):
    from PIL import Image

    two = Image.new("RGB", (60, 60), (220, 30, 30))
    two.paste((30, 30, 220), (0, 30, 60, 60))  # red above blue
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    files = {"plain.jpg": {}, "turned.jpg": {"exif": exif}, "clear.png": {}, "grey.png": {}}
    two.save(tmp_path / "plain.jpg", quality=95)
    two.save(tmp_path / "turned.jpg", quality=95, exif=exif)
    Image.new("RGBA", (60, 40), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("L", (50, 80), 100).save(tmp_path / "grey.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG no picture")
    page, seen = visit(page_file), {}
    pixel = "y => [...document.querySelector('.vfs-small').getContext('2d').getImageData(16, y, 1, 1).data].slice(0, 3)"
    for name in files:
        count = page.locator(".vfs-shelf button").count()
        page.locator(".vfs-file input").set_input_files(tmp_path / name)
        page.wait_for_function("n => document.querySelectorAll('.vfs-shelf button').length > n", arg=count)
        settled(page)
        seen[name] = page.evaluate(pixel, 4), page.evaluate(pixel, 28)
    near = lambda a, b: max(abs(x - y) for x, y in zip(a, b, strict=True)) < 30  # noqa: E731
    assert near(seen["plain.jpg"][0], (220, 30, 30)) and near(seen["plain.jpg"][1], (30, 30, 220))
    assert near(seen["turned.jpg"][0], (30, 30, 220)) and near(seen["turned.jpg"][1], (220, 30, 30))
    assert seen["clear.png"] == ([255] * 3, [255] * 3) and seen["grey.png"] == ([100] * 3, [100] * 3)
    page.locator(".vfs-file input").set_input_files(tmp_path / "broken.png")
    page.get_by_text("cannot be read as a picture").wait_for()


@needs_browser
def test_drawing_and_erasing(visit, page_file):
    page = visit(page_file)
    look, before = "() => document.querySelector('.vfs-small').toDataURL()", answers(page)
    first = page.evaluate(look)
    box = page.locator("canvas.vfs-main").bounding_box()

    def stroke(tool):
        page.get_by_role("button", name=tool, exact=True).click()
        page.mouse.move(box["x"] + 20, box["y"] + 40)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] - 20, box["y"] + 40, steps=12)
        page.mouse.up()
        settled(page)

    stroke("Draw")
    assert page.evaluate(look) != first and answers(page) != before
    for _ in range(2):
        stroke("Erase")
    assert page.evaluate(look) == first and answers(page) == before


@needs_browser
def test_following_a_patch_shows_pytorchs_numbers(visit, page_file, packed_model):
    "Twenty numbers read from the page, in words, against PyTorch."
    model, image, block, head, token, target = packed_model, load_samples("cifar10").images[30], 5, 2, 20, 43
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (model.mean, model.std))
    x, at, D, d = ((image.float() / 255 - mean) / std)[None], model.blocks[5], model.arguments["embed_dim"], model.blocks[0].attn.head_dim
    with torch.no_grad():
        patches, projected, stream = patchify(x, 4)[0], model.patch_embed(x)[0], [model.embed(x)]
        for each in model.blocks:
            stream.append(each(stream[-1]))
        z = stream[block][0]
        norm1, weights = at.norm1(z), attention_maps(model, x)[block, 0, head]
        q, k, v = at.attn.qkv(norm1).view(-1, 3, model.blocks[0].attn.num_heads, d)[:, :, head].unbind(1)
        middle = z + at.attn(norm1[None])[0]
        active = at.mlp.act(at.mlp.fc1(at.norm2(middle)))
        pooled, logits = model.norm(stream[-1])[0, 0], model(x)[0]
    n = token - 1
    wanted = {
        "Pixels": (patches[n], [0, 17]), "Projection": (projected[n], [3, D - 1]), "+ position": (stream[0][0, token], [5]), "LayerNorm": (norm1[token], [0, 9]),
        "Query": (q[token], [0, 7]), "Key": (k[target], [0, 7]), "Score": (q[token] * k[target] / d**0.5, [4]), "Softmax": (weights[token], [0, target]),
        "Weighted values": ((weights @ v)[token], [1]), "Heads joined": (middle[token] - z[token], [2]), "Added back": (middle[token], [2]),
        "MLP": (active[token], [8]), "Block done": (stream[block + 1][0, token], [3]), "Readout": (pooled, [6]), "Logits": (logits, [3]), "Answer": (logits.softmax(0), [3]),
    }  # fmt: skip
    page = visit(page_file, f"#image=30&token={token}&target={target}&block={block}&head={head}")
    read = 0
    for stop, (values, places) in wanted.items():
        page.locator(".vfs-path button", has_text=re.compile(f"^{re.escape(stop)}$")).click()
        drawn(page)
        for place in places:
            strip = page.locator(".vfs-strip-canvas")
            across = strip.evaluate("node => node.width / 16")
            box = strip.bounding_box()
            side = box["width"] / across
            strip.scroll_into_view_if_needed()
            box = strip.bounding_box()
            page.mouse.move(box["x"] + (place % across + 0.5) * side, box["y"] + (place // across + 0.5) * side)
            drawn(page)
            shown = page.locator(".vfs-total").inner_text().replace("−", "-")
            assert f"[{place}]" in page.locator(".vfs-origin caption").inner_text()
            assert abs(float(shown) - values[place].item()) < 1.01e-4, (stop, place, shown, values[place].item())
            parts = page.locator(".vfs-origin tr:not(.vfs-sum) td:last-child").all_inner_texts()
            parts = [float(text.replace("−", "-")) for text in parts if text]
            assert not parts or stop == "MLP" or abs(sum(parts) - float(shown)) < 6e-4, f"{stop}[{place}] is not the sum of what the page lists"
            read += 1
    assert read >= 20


@needs_browser
def test_matrix_and_picture_are_linked(visit, page_file, packed_model):
    page = visit(page_file, "#image=5&block=3&head=1")
    page.get_by_role("tab", name="Who looks at whom").click()
    drawn(page)
    box = page.locator(".vfs-matrix").bounding_box()
    page.mouse.click(box["x"] + (40.5 / 65) * box["width"], box["y"] + (12.5 / 65) * box["height"])
    drawn(page)
    assert "token=12&target=40" in page.evaluate("location.hash")
    image = load_samples("cifar10").images[5]
    weight = 100 * in_python(packed_model, image)["weights"][3][1, 12, 40].item()
    assert f"{weight:.3f} %" in page.locator(".vfs-matrix-box .vfs-caption").inner_text()
    page.mouse.move(0, 0)
    drawn(page)
    assert f"it takes {weight:.3f} %" in page.locator(".vfs-picture .vfs-caption").inner_text()


@needs_browser
def test_the_tour_by_keyboard_alone(visit, page_file):
    page = visit(page_file)

    def press(*keys):
        for key in keys:
            page.keyboard.press(key)

    def tab_to(selector: str):
        for _ in range(400):
            page.keyboard.press("Tab")
            if page.evaluate("s => document.activeElement.matches(s)", selector):
                return
        raise AssertionError(f"{selector} cannot be reached with the Tab key")

    def solved():
        page.wait_for_selector(".vfs-solved")
        page.locator(".vfs-tour h2").focus()  # where a reader's Shift+Tab leads as well
        tab_to(".vfs-tour-bar .vfs-go")
        press("Enter")
        settled(page)

    tab_to(".vfs-tour .vfs-go")
    press("Enter")
    tab_to("canvas.vfs-main")
    press("ArrowRight", "ArrowDown", "Enter")
    solved()
    tab_to(".vfs-wall-grid button")
    blocks, heads = page.locator(".vfs-block-name").count(), page.locator(".vfs-wall-rows span").count()
    for step in range(blocks * heads):  # try every head
        press("Enter")
        settled(page)
        if "Point at several patches" in page.locator(".vfs-reply").inner_text():
            break
        if (step + 1) % blocks:
            press("ArrowRight" if (step // blocks) % 2 == 0 else "ArrowLeft")
        else:
            press("ArrowDown")
    assert page.locator(".vfs-solved").count() == 0  # a tile alone does not show that the spot follows
    tab_to("canvas.vfs-main")
    press("ArrowRight", "ArrowRight", "ArrowDown")
    solved()
    tab_to(".vfs-picture .vfs-chips button")
    press("Enter")
    solved()
    tab_to(".vfs-wall-side input[type=range]")
    for _ in range(blocks):
        settled(page)
        if page.locator(".vfs-solved").count():
            break
        press("ArrowRight")
    solved()
    tab_to("canvas.vfs-main")
    for row in range(8):
        for _ in range(8):
            press("Enter", "ArrowRight" if row % 2 == 0 else "ArrowLeft")
        settled(page)
        if page.locator(".vfs-solved").count():
            break
        press("ArrowDown")
    solved()
    tab_to(".vfs-shuffle")
    press("Enter")
    settled(page)
    solved()
    tab_to(".vfs-wall-side input[type=checkbox]")
    press("Space")
    page.locator(".vfs-block-name").first.focus()
    for _ in range(blocks):
        press("Enter")
        settled(page)
        if page.locator(".vfs-solved").count():
            break
        press("Tab")
    page.wait_for_selector(".vfs-solved")


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barrier_for_assistive_technology(visit, page_file, scheme):
    if not AXE.exists():
        pytest.skip("axe-core is not installed: run python docs/build.py")
    page = visit(page_file, "#tour=3", scheme=scheme)
    page.evaluate(AXE.read_text())
    for tab in ("Every step in numbers", "Who looks at whom", "Compare"):
        page.get_by_role("tab", name=tab).click()
        if tab == "Compare":
            page.get_by_role("button", name="Keep what is shown as A").click()
        drawn(page)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
        assert not found, "\n".join(f"{item['id']}: {item['help']}: {item['nodes'][0]['html'][:200]}" for item in found)


@needs_browser
@pytest.mark.parametrize("width", [1280, 800, 390])
def test_no_sideways_scrolling(visit, page_file, width):
    page = visit(page_file, "#tour=2", width=width)
    for tab in ("Every step in numbers", "Who looks at whom", "Compare"):
        page.get_by_role("tab", name=tab).click()
        if tab == "Compare":
            page.get_by_role("button", name="Keep what is shown as A").click()
        drawn(page)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), tab


@needs_browser
def test_an_address_with_nonsense_opens_all_the_same(visit, page_file):
    page = visit(page_file, "#image=999&block=-3&head=x&off=9.9_a&hidden=70_2&method=magic&about=3&token=64")
    assert page.evaluate("location.hash") in ("#image=999&block=-3&head=x&off=9.9_a&hidden=70_2&method=magic&about=3&token=64", "#token=64&about=3&hidden=2")
    page.locator(".vfs-bar").first.click()
    drawn(page)
    assert page.evaluate("location.hash").startswith("#token=64&")


def test_what_cannot_be_exported_is_refused(tmp_path):
    large = ViT(image_size=224, patch_size=16, embed_dim=768, depth=12, num_heads=12, num_classes=10)
    with pytest.raises(ValueError, match="to_html"):
        export_html(large, torch.zeros(1, 3, 224, 224), tmp_path / "x.html")
    small = ViT.from_shipped("shapes")
    for images, words in [(torch.zeros(1, 3, 16, 16), "wanted N x 3 x 32 x 32"), (torch.full((1, 3, 32, 32), 2.0), "uint8 pixels"), (torch.zeros(0, 3, 32, 32), "wanted N x")]:
        with pytest.raises(ValueError, match=words):
            export_html(small, images, tmp_path / "x.html")
    with pytest.raises(ValueError, match="2 labels for 1 images"):
        export_html(small, torch.zeros(1, 3, 32, 32), tmp_path / "x.html", labels=[0, 1])
    assert not list(tmp_path.iterdir())


def test_joined_modules_define_no_name_twice():
    found = re.findall(r"^(?:export )?(?:async )?(?:function|const|let|class) (\w+)", "\n".join(map(read_static, (*MODEL_PARTS, *LIVE_PARTS))), re.M)
    assert len(found) == len(set(found)) > 50


@needs_browser
def test_the_slider_over_training_computes_with_the_weights_of_that_moment(visit, tmp_path):
    from types import SimpleNamespace

    images, snapshots = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8), Snapshots(3)
    models = [lively(dict(image_size=16, patch_size=4, in_channels=3, num_classes=4, embed_dim=16, depth=2, num_heads=2), seed) for seed in range(7)]
    told = dict(epochs=2, steps_per_epoch=3)
    for step, model in enumerate(models):  # another model after each step
        model.mean, model.std = [0.5] * 3, [0.25] * 3
        snapshots(SimpleNamespace(event="step" if step else "start", step=step, model=model, loss=2.0 - 0.1 * step, row=None, **told))
        if step in (3, 6):
            snapshots(SimpleNamespace(event="epoch", step=step, model=model, loss=0.0, row={"valid_loss": 2.0, "valid_accuracy": step / 10}, **told))
    assert snapshots.curve() == {"epochs": [0, 2 / 3, 4 / 3, 2], "train_loss": [None, 1.8, 1.6, 1.4], "valid_loss": [None, None, None, 2.0], "valid_accuracy": [None, None, None, 0.6]}
    page = visit(export_html(models[-1], images, tmp_path / "t.html", snapshots=snapshots, precision="float32"))
    wanted = [logits_of(unpack_model(packed), images[0]) for packed in snapshots.models]
    page.get_by_role("tab", name="Over training").click()
    page.locator(".vfs-training input[type=range]").focus()
    page.keyboard.press("ArrowRight")  # from the trained model to the second moment
    for place in (1, 2, 3):
        settled(page)
        assert page.evaluate("location.hash") == f"#model={place + 2}&tab=3"
        model = unpack_model(snapshots.models[place])
        model.classes = [f"class {k}" for k in range(4)]
        assert close(answers(page), as_shown(model, wanted[place]))
        assert ("60.0 % of the validation images" in page.locator(".vfs-training .vfs-caption").inner_text()) == (place == 3)
        page.keyboard.press("ArrowRight")


@needs_browser
def test_the_front_door_opens_on_a_right_answer_and_ends_in_a_puzzle(visit, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parent.parent / "docs"))
    front = pytest.importorskip("front")
    size = front.write_scripts(tmp_path / "_static" / "front")
    shutil.copy(front.project.ROOT / "docs" / "static" / "front.js", tmp_path / "_static")
    for name, text in {"explore": front.explore_page(size), "training": front.training_page()}.items():
        (tmp_path / f"{name}.html").write_text(text, encoding="utf-8")
    model, samples = unpack_model(pack_model(ViT.from_shipped(front.MODEL), "int8")), load_samples(front.MODEL)
    first, puzzle = front.surest(model, samples), front.PUZZLE
    page = visit(tmp_path / "explore.html")
    assert close(answers(page), as_shown(model, logits_of(model, samples.images[first])))
    assert "The picture's label agrees." in page.locator(".vfs-verdict").inner_text()
    page = visit(tmp_path / "explore.html", "#tour=8")  # the picture of the puzzle, also where the link names none
    assert f"The picture's label is “{model.classes[samples.labels[puzzle]]}”" in page.locator(".vfs-tour").inner_text()
    assert close(answers(page), as_shown(model, logits_of(model, samples.images[puzzle])))
    the_puzzle_is_solved_by_acting(page, front, model, samples.images[puzzle])
    page = visit(tmp_path / "training.html")
    assert page.get_by_role("tab", name="Over training").get_attribute("aria-selected") == "true"
    assert f"{100 * load_recorded().curve()['valid_accuracy'][-1]:.1f} % of the validation images right" in page.locator(".vfs-training .vfs-caption").inner_text()


def the_puzzle_is_solved_by_acting(page, front, model, image) -> None:
    "Each explanation has a test; what the page prints is PyTorch's, and only hiding one ear takes the wrong answer away."
    grey, airplane, elsewhere = [round(255 * m) for m in model.mean], model.classes.index("airplane"), [n for n in range(64) if n not in front.EAR]

    def share(hidden) -> tuple[str, float]:
        p = logits_of(model, hidden_patches(image, 4, list(hidden), grey)).softmax(0)
        return model.classes[int(p.argmax())], p[airplane].item()

    whole = share([])[1]
    for act, hidden, stays in (("Hide the sky", front.SKY, True), ("Hide that ear", front.EAR, False), ("Hide 4 other patches", None, True), ("Hide everything", range(64), True)):
        page.get_by_role("button", name=act, exact=True).click()
        settled(page)
        shown = [int(n) for n in re.search(r"hidden=([\d_]+)", page.evaluate("location.hash"))[1].split("_")]
        says, p = share(shown)
        assert hidden is None or shown == sorted(hidden)
        assert (says == "airplane") == stays and len(shown) == len(hidden or front.EAR)
        row = page.locator(".vfs-tests li", has_text=act).locator("b").inner_text()
        assert row == f"airplane {100 * whole:.1f} % → {100 * p:.1f} %: {'still airplane' if stays else f'it says {says}'}"
    draw = random.Random(0)  # whatever the page's own draw hides, the answer stays
    assert all(share(draw.sample(elsewhere, 4))[0] == "airplane" for _ in range(50))
    assert "only “Hide that ear” takes “airplane” away" in page.locator(".vfs-tour-bar").inner_text()
    assert not set(front.EAR) & set(front.SKY)
    lens = logit_lens(model, normalised(model, image))[:, 0, 0].softmax(-1)
    leads = next(b for b in range(8) if all(int(p.argmax()) == airplane for p in lens[b + 1 :]))
    told = page.locator(".vfs-conclusion").inner_text()
    for belief, held in (("The sky", "the tests speak against it"), ("The ear on the right", "the tests bear it out")):
        page.locator(".vfs-tests label", has_text=f"{belief}:").click()
        page.locator(".vfs-conclusion", has_text=f"You believed: {belief.lower()}; {held}.").wait_for()
    when = "after the last one alone" if leads == 7 else f"from block {leads} on"
    assert f"“airplane” leads {when}" in told and f"never gets more than {100 * lens[1:, model.classes.index('cat')].max():.1f} %" in told


def load_recorded() -> Snapshots:
    return load_snapshots(Path(__file__).resolve().parent.parent / "vit_from_scratch" / "recorded" / "shapes_training.safetensors")


def test_the_explorer_of_a_notebook_writes_the_page(tmp_path, monkeypatch):
    from vit_from_scratch.explore import AttentionExplorer

    monkeypatch.chdir(tmp_path)
    explorer, sent = AttentionExplorer(ViT.from_shipped("shapes"), torch.zeros(1, 3, 32, 32), mean=[0.1] * 3), []
    monkeypatch.setattr(explorer, "send", sent.append)
    explorer.answer({"type": "page"}, [])
    assert sent == [{"type": "page", "text": "Written beside the notebook: vit_page.html"}]
    data = json.loads(re.search(r"globalThis.VIT_PAGE = (.*);</script>", (tmp_path / "vit_page.html").read_text())[1])
    assert data["models"][0]["mean"] == pytest.approx([0.1] * 3) and data["images"]["labels"] == [-1]


@needs_browser
def test_two_models_are_compared_patch_by_patch(visit, tmp_path):
    "One model of 4 x 4 patches, one of 8 x 8: told on one grid, on one scale, with the difference."
    arguments = dict(image_size=16, in_channels=3, num_classes=4, embed_dim=16, depth=2, num_heads=2)
    coarse, fine = (lively(arguments | {"patch_size": patch}, seed) for patch, seed in ((4, 1), (2, 2)))
    images = torch.randint(0, 256, (2, 3, 16, 16), dtype=torch.uint8)
    page = visit(export_html(coarse, images, tmp_path / "two.html", precision="float32", other=fine, names=("coarse", "fine")))
    page.get_by_role("tab", name="Compare").click()
    page.get_by_role("button", name="Compare with: fine").click()
    settled(page)
    rows = [weights[1, 0].mean(0)[0, 1:].detach() for weights in (attention_maps(m, normalised(m, images[0])) for m in (coarse, fine))]
    spread = (rows[0].view(4, 4).repeat_interleave(2, 0).repeat_interleave(2, 1) / 4).flatten()  # A in B's patches
    difference = rows[1] - spread
    at = int(difference.abs().argmax())
    caption = page.locator(".vfs-panel:not([hidden]) p.vfs-caption").inner_text().replace("−", "-")
    assert f"patch {at} (row {at // 8}, column {at % 8})" in caption
    assert f"A {spread[at]:.4f}, B {rows[1][at]:.4f}, difference {difference[at]:.4f}" in caption
    assert "16 patches are told in B's 64" in caption
    table = page.locator(".vfs-panel:not([hidden]) td").all_inner_texts()
    both = [logits_of(m, images[0]).softmax(0) for m in (coarse, fine)]
    for name, a, b, _ in zip(*(iter(table),) * 4, strict=True):
        k = int(name.removeprefix("class "))
        assert all(abs(float(text.split(" %")[0]) - 100 * p[k].item()) < 0.06 for text, p in ((a, both[0]), (b, both[1])))
    address = page.evaluate("location.hash")
    again = visit(tmp_path / "two.html", address)
    again.wait_for_function("document.querySelector('.vfs-panel:not([hidden]) p.vfs-caption').textContent.includes('difference')")
    assert again.locator(".vfs-panel:not([hidden]) p.vfs-caption").inner_text().replace("−", "-") == caption


def test_the_command_line_puts_two_runs_into_a_page(tmp_path):
    from typer.testing import CliRunner

    from vit_from_scratch.cli import app

    path = tmp_path / "two.html"
    done = CliRunner().invoke(app, ["export", "shapes", "--html", str(path), "--compare", "shapes", "--precision", "int8"])
    assert done.exit_code == 0, done.output
    data = json.loads(re.search(r"globalThis.VIT_PAGE = (.*);</script>", path.read_text())[1])
    assert data["names"] == ["shapes", "untrained", "shapes"] and data["comparable"] == [0, 1, 2]
    assert data["models"][2]["bytes"] == data["models"][0]["bytes"]
    refused = CliRunner().invoke(app, ["export", "shapes", "--html", str(tmp_path / "no.html"), "--compare", "cifar10"])
    assert refused.exit_code != 0 and not (tmp_path / "no.html").exists()


@needs_node
def test_the_playground_counts_in_javascript_what_python_counts():
    "Tokens, parameters, multiply-adds and the sentence of a refusal, on twenty places of the sliders and twenty models drawn at random."
    from vit_from_scratch.data import load_data
    from vit_from_scratch.estimate import count_tokens
    from vit_from_scratch.explore import START, PlaygroundCosts, knobs
    from vit_from_scratch.page import without_imports
    from vit_from_scratch.vit import count_multiply_adds, count_parameters

    costs, draw = PlaygroundCosts(load_data("shapes", limit=60)), random.Random(4)
    places = {name: [value for value, _ in choices] for name, _, choices, _ in knobs(32)}
    settings = [START | {name: draw.choice(values) for name, values in places.items()} for _ in range(20)]
    start = costs.arguments(START)
    cases = [start | {name: value for name, value in setting.items() if name in start} for setting in settings]
    cases += [random_arguments(seed) for seed in range(20)]
    code = f"const KINDS = {{}};\n{without_imports('playground.js')[0]}\nprocess.stdout.write(JSON.stringify(JSON.parse(require('fs').readFileSync(0)).map((a) => [countCosts(a), impossible(a)])));"
    done = subprocess.run([NODE, "-e", code], input=json.dumps(cases).encode(), capture_output=True, check=True)
    refused = 0
    for number, (arguments, (counted, refusal)) in enumerate(zip(cases, json.loads(done.stdout), strict=True)):
        if number < 20:
            problem = costs.numbers(settings[number])["problem"]
            assert refusal == (problem if problem.startswith("Impossible: ") else "")
            refused += refusal != ""
            if refusal:
                continue
        a = {name: arguments[name] for name in random_arguments(0)}
        assert counted == {"tokens": count_tokens(a), "parameters": count_parameters(**a), "multiplyAdds": count_multiply_adds(**a)}
    assert 3 < refused < 17


@needs_browser
def test_a_picture_comes_by_camera_by_paste_and_by_drop(page_file, driver):
    "Chromium's own fake camera; a file pasted and a file dropped; a text dropped is refused in words."
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    bring = """([kind, red]) => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 40 }), ctx = canvas.getContext("2d");
      ctx.fillStyle = red ? "rgb(200, 40, 40)" : "rgb(40, 40, 200)";
      ctx.fillRect(0, 0, 40, 40);
      return new Promise((done) => canvas.toBlob((blob) => {
        const data = new DataTransfer(), file = kind === "text" ? new File(["no picture"], "notes.txt", { type: "text/plain" }) : new File([blob], "p.png", { type: "image/png" });
        data.items.add(file);
        const place = kind === "paste" ? document : document.querySelector(".vfs-live");
        place.dispatchEvent(kind === "paste" ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true }) : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        done();
      }));
    }"""
    pixel = "() => [...document.querySelector('.vfs-small').getContext('2d').getImageData(16, 16, 1, 1).data].slice(0, 3)"
    with tempfile.TemporaryDirectory() as folder:
        context = driver.chromium.launch_persistent_context(folder, executable_path=CHROMIUM, headless=True, args=[*FLAGS, *fake], permissions=["camera"])
        context.set_default_timeout(PATIENCE)
        page = context.pages[0]
        page.goto(page_file.as_uri())
        settled(page)

        def arrived(count):
            page.wait_for_function("n => document.querySelectorAll('.vfs-shelf button').length === n", arg=count)
            settled(page)

        start = page.locator(".vfs-shelf button").count()
        page.evaluate(bring, ["paste", True])
        arrived(start + 1)
        assert page.evaluate(pixel) == [200, 40, 40]
        page.evaluate(bring, ["drop", False])
        arrived(start + 2)
        assert page.evaluate(pixel) == [40, 40, 200]
        page.evaluate(bring, ["text", False])
        page.get_by_text("“notes.txt” cannot be read as a picture").wait_for()
        page.get_by_role("button", name="Camera").click()
        page.wait_for_function("document.querySelector('video').readyState >= 2")  # the first frame is there
        page.get_by_role("button", name="Take the picture").click()
        arrived(start + 3)
        seen = page.evaluate("new Set(document.querySelector('.vfs-small').getContext('2d').getImageData(0, 0, 32, 32).data).size")
        assert seen > 10 and page.locator("video").is_hidden()
        context.close()


@needs_browser
def test_what_visitors_stumbled_over(visit, page_file):
    page = visit(page_file, "#token=20", width=390)
    canvas, caption = page.locator("canvas.vfs-main"), page.locator(".vfs-picture .vfs-caption")
    chosen = caption.inner_text()
    canvas.focus()
    page.keyboard.press("ArrowDown")  # a look, which Tab or Escape ends
    page.wait_for_function("document.querySelector('.vfs-picture .vfs-caption').textContent.includes('Only a look: Enter chooses this patch')")
    page.keyboard.press("Tab")
    drawn(page)
    assert caption.inner_text() == chosen and "token=20" in page.evaluate("location.hash")
    assert page.locator(".vfs-shelf button[tabindex='0']").count() == 1  # a hundred pictures, one stop of the Tab key
    page.locator(".vfs-shelf button[tabindex='0']").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    settled(page)
    assert "image=1" in page.evaluate("location.hash")
    page.get_by_label("Only the photograph").check()
    drawn(page)
    small, large = (page.evaluate(f"(() => {{ const c = document.querySelector('{name}'); return [...c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data]; }})()") for name in (".vfs-small", ".vfs-main"))
    assert small == large  # no map on it
    page.get_by_label("Only the photograph").uncheck()
    for tab in ("Every step in numbers", "Who looks at whom", "Compare"):
        page.get_by_role("tab", name=tab).click()
        drawn(page)
        low = page.evaluate("""[...document.querySelectorAll('.vfs-live :is(button, select)')].filter((n) => n.offsetParent && !n.matches('.vfs-wall-grid button, .vfs-link, .vfs-help'))
            .map((n) => [n.textContent, n.getBoundingClientRect()]).filter(([, b]) => b.height < 39.9 || b.width < 23.9).map(([text, b]) => `${text} ${b.width} x ${b.height}`)""")
        assert low == [], "too small for a finger"
    for mark in page.locator(".vfs-help:visible").all():  # a note stays in the window
        mark.click()
        note = page.locator(".vfs-note:visible").bounding_box()
        assert note["x"] >= 0 and note["x"] + note["width"] <= 390
        mark.press("Escape")
    page = visit(page_file, "#tour=5&tool=hide", width=800)
    box = page.locator("canvas.vfs-main").bounding_box()
    page.locator("canvas.vfs-main").scroll_into_view_if_needed()
    box = page.locator("canvas.vfs-main").bounding_box()
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + 5, steps=16)  # hiding by dragging
    page.mouse.up()
    settled(page)
    assert "hidden=0_1_2_3_4_5_6_7" in page.evaluate("location.hash")
    bar = page.locator(".vfs-tour-bar").bounding_box()
    assert "8 " in page.locator(".vfs-reply").inner_text() and 0 <= bar["y"] <= 900 - bar["height"], "the verdict is in sight"


HOLD = """(() => { const post = Worker.prototype.postMessage; globalThis.held = [];
  Worker.prototype.postMessage = function (...sent) { sent[0].id === undefined ? post.apply(this, sent) : held.push(() => post.apply(this, sent)); };
  globalThis.release = () => { Worker.prototype.postMessage = post; held.splice(0).forEach((send) => send()); }; })()"""  # the worker is asked only when the test says so


@needs_browser
def test_old_numbers_never_stand_beside_a_new_picture(visit, page_file, packed_model):
    page, images = visit(page_file, "#image=3"), load_samples("cifar10").images
    assert "81" not in page.locator(".vfs-link-row").inner_text() and "Picture 3" in page.locator(".vfs-link-row").inner_text()
    page.evaluate(HOLD)
    page.locator(".vfs-shelf button").nth(81).click()
    page.wait_for_function("document.querySelector('.vfs-verdict').textContent === 'Computing …'")
    assert page.locator(".vfs-bar b").first.is_hidden()
    assert all("%" not in page.locator(name).inner_text() for name in (".vfs-headline h3", ".vfs-verdict", ".vfs-picture > .vfs-caption"))
    page.evaluate("release()")
    settled(page)
    assert close(answers(page), as_shown(packed_model, logits_of(packed_model, images[81])))
    page = visit(page_file, "#tour=5&tool=hide")
    page.get_by_label("1 to 5").check()
    page.evaluate(HOLD)
    page.locator("canvas.vfs-main").focus()
    page.keyboard.press("Shift+ArrowRight")  # hides on the way
    page.wait_for_function("document.querySelector('.vfs-reply').textContent === 'Computing …'")
    assert "hidden=0_1" in page.evaluate("location.hash") and "%" not in page.locator(".vfs-says").inner_text()
    page.evaluate("release()")
    for step in range(63):
        settled(page)
        if page.locator(".vfs-solved").count():
            break
        page.keyboard.press(f"Shift+Arrow{'Down' if step % 8 == 6 else 'Left' if step // 8 % 2 else 'Right'}")
    reply, count = page.locator(".vfs-reply").inner_text(), len(re.search(r"hidden=([\d_]+)", page.evaluate("location.hash"))[1].split("_"))
    assert f"You guessed “1 to 5”: {'right' if count <= 5 else 'wrong'}, it took {count}." in reply
    assert page.locator(".vfs-right").count() == (count <= 5), "a tick only for a right guess"


@needs_browser
def test_a_press_before_the_model_is_there_counts(browser, page_file, packed_model):
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(PATIENCE)
    page.add_init_script(HOLD)
    page.goto(page_file.as_uri())
    page.get_by_role("button", name="Start the tour").click()
    drawn(page)
    assert "Loading the model" in page.locator(".vfs-headline").inner_text() and "Loading the model" in page.locator(".vfs-wall-wait").inner_text()
    page.evaluate("release()")
    settled(page)
    assert page.evaluate("document.activeElement.textContent") == "1 of 7: What does it see?"
    picture, bar = (page.locator(name).bounding_box() for name in ("canvas.vfs-main", ".vfs-tour-bar"))
    assert bar["y"] >= 0 and bar["y"] + bar["height"] <= picture["y"] and picture["y"] + picture["height"] <= 800
    page.close()


@needs_browser
def test_the_lens_chart_chooses_a_block_and_keeps_the_answer(visit, page_file, packed_model):
    page, note = visit(page_file, "#tour=4&image=81"), ".vfs-lens-lines .vfs-caption"
    lens = logit_lens(packed_model, normalised(packed_model, load_samples("cifar10").images[81]))[:, 0, 0].argmax(-1)
    leads = next(b for b in range(8) if all(k == lens[-1] for k in lens[b + 1 :]))
    assert "leads" not in page.locator(note).inner_text()
    box = page.locator(".vfs-lens-lines svg").bounding_box()
    page.mouse.click(box["x"] + box["width"] * (40 + (leads + 1) / 8 * 226) / 350, box["y"] + box["height"] / 2)
    page.wait_for_selector(".vfs-right")
    settled(page)
    assert f"leads from block {leads} on" in page.locator(note).inner_text() and f"{leads} of 0–7" in page.locator(".vfs-wall-side").inner_text()
    page.locator(".vfs-help:visible").first.click()
    assert page.locator(".vfs-note:visible").count() == 1
    page.locator(".vfs-verdict").click()
    assert page.locator(".vfs-note:visible").count() == 0


@needs_browser
def test_without_workers_the_page_computes_itself(browser, page_file, packed_model, tmp_path):
    path, head = tmp_path / "strict.html", '<meta charset="utf-8">'
    path.write_text(page_file.read_text().replace(head, head + "<meta http-equiv=\"Content-Security-Policy\" content=\"worker-src 'none'\">", 1))
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(path.as_uri() + "#image=7")
    settled(page)
    assert close(answers(page), as_shown(packed_model, logits_of(packed_model, load_samples("cifar10").images[7])))
    page.close()
