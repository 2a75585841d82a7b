"""The explorers in a real browser: JupyterLab in headless Chromium on a copy of the explore lesson, and a saved page from disk."""

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LESSON = Path(__file__).parents[1] / "nbs" / "10_explore.ipynb"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install it (Debian: apt install chromium) to test the explorers")


PATIENCE = 60.0  # seconds that a busy machine may take to answer; nothing is measured against it


def until(what, message: str) -> None:
    "Ask until the answer is yes: how long that takes is the machine's affair."
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, message
        time.sleep(0.05)


@contextmanager
def browser(**settings):
    "A page of a fresh Chromium, the addresses it asked for, and its errors."
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=1000 * PATIENCE)

    with sync_playwright() as p, tempfile.TemporaryDirectory(prefix="browser_", ignore_cleanup_errors=True) as folder:
        context = p.chromium.launch_persistent_context(folder, executable_path=CHROMIUM, headless=True, args=FLAGS, **settings)
        context.set_default_navigation_timeout(3000 * PATIENCE)  # JupyterLab on a busy machine
        page, asked, errors = context.pages[0], [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        try:
            yield page, asked, errors
        finally:
            context.close()


@contextmanager
def jupyterlab(root: Path):
    "JupyterLab with a private home; gives its address, its token and a function that lists its kernels."
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    home, token = Path(tempfile.mkdtemp(prefix="lab_")), secrets.token_hex(16)
    names = {"HOME": "", "JUPYTER_CONFIG_DIR": "cfg", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "run", "IPYTHONDIR": "ipy",
             "JUPYTERLAB_SETTINGS_DIR": "set", "JUPYTERLAB_WORKSPACES_DIR": "ws"}
    settings = home / "set" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews":"false","checkForUpdates":false,"doNotDisturbMode":true}')
    tracker = home / "set" / "@jupyterlab" / "notebook-extension"
    tracker.mkdir(parents=True)
    (tracker / "tracker.jupyterlab-settings").write_text('{"windowingMode":"none"}')  # every cell is in the page
    if os.environ.get("LAB_THEME"):
        (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": os.environ["LAB_THEME"]}))
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--ip=127.0.0.1", f"--port={port}", "--ServerApp.port_retries=0", "--allow-root",
               f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={root}", "--LabApp.news_url=",
               "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    environment = dict(os.environ, **{name: str(home / part) for name, part in names.items()})
    environment.pop("MPLBACKEND", None)
    base = f"http://127.0.0.1:{port}"

    def get(path: str):
        with urllib.request.urlopen(f"{base}{path}?token={token}", timeout=5) as answer:
            return json.loads(answer.read())

    with open(home / "lab.log", "w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        give_up = time.monotonic() + 180
        while True:
            try:
                get("/api/status")
                break
            except OSError:
                said = (home / "lab.log").read_text()[-3000:]
                assert server.poll() is None, f"JupyterLab ended: {said}"
                assert time.monotonic() < give_up, f"JupyterLab does not answer after three minutes: {said}"
                time.sleep(0.25)
        yield base, token, get
    finally:
        os.killpg(server.pid, signal.SIGTERM)  # our own process group only, kernels included
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
        shutil.rmtree(home, ignore_errors=True)


def open_and_run(page, base: str, token: str, get, name: str, seconds: float = 300):
    "Open a notebook and run all its cells; *Run All* clicked before the kernel is really there would be dropped."
    from playwright.sync_api import expect

    page.goto(f"{base}/lab/tree/{name}?token={token}")
    notebook = page.locator(".jp-NotebookPanel:visible")
    notebook.locator(".jp-Notebook").wait_for(timeout=60_000)

    def listed() -> list:
        try:
            return get("/api/kernels")
        except OSError:  # the list can fail while the kernel starts
            return []

    for _ in range(480):
        kernels = listed()
        if len(kernels) == 1 and kernels[0]["execution_state"] == "idle" and kernels[0]["connections"] >= 1:
            break
        time.sleep(0.25)
    expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=120_000)
    page.wait_for_timeout(1000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    end = time.monotonic() + seconds
    page.wait_for_timeout(1500)
    while notebook.locator(".jp-CodeCell .jp-InputPrompt", has_text="*").count() or [kernel["execution_state"] for kernel in listed()] != ["idle"]:
        assert time.monotonic() < end, "the lesson did not finish"
        page.wait_for_timeout(250)
    return notebook


def pixels(view) -> str:
    "What is drawn on the main canvas."
    return view.locator("canvas.vfs-main").evaluate("c => c.toDataURL()")


def patch(view, row: int, column: int, grid: int) -> None:
    "Move the mouse over a patch."
    canvas = view.locator("canvas.vfs-main")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    view.page.mouse.move(box["x"] + (column + 0.5) * box["width"] / grid, box["y"] + (row + 0.5) * box["height"] / grid)


def look_around(view, grid: int) -> None:
    "Hovering, both sliders and the wall change what is drawn."
    from playwright.sync_api import expect

    readout = view.locator(".vfs-readout").first
    before = pixels(view)
    patch(view, 2, 3, grid)
    expect(readout).to_contain_text(f"Patch {2 * grid + 3} (row 2, column 3)")
    until(lambda: pixels(view) != before, "the map does not follow the pointer")
    view.page.mouse.move(2, 2)
    for label in ("Block", "Head"):
        slider = view.locator(f'label:has(span:text-is("{label}")) input')
        before, text = pixels(view), readout.inner_text()
        slider.focus()
        slider.press("ArrowLeft")
        expect(readout).not_to_have_text(text)
        until(lambda: pixels(view) != before, label)  # noqa: B023
    view.locator(".vfs-wall-grid button").first.click()
    expect(readout).to_contain_text("block 0, head 0")


def transparent_png() -> bytes:
    "A picture of 64 x 64 pixels in which nothing is drawn."
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.new("RGBA", (64, 64), (0, 0, 0, 0)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def lesson(tmp_path_factory):
    "A copy of the lesson without its saved outputs and widgets."
    folder = tmp_path_factory.mktemp("lesson")
    notebook = json.loads(LESSON.read_text())
    notebook["metadata"].pop("widgets", None)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    (folder / "lesson.ipynb").write_text(json.dumps(notebook))
    return folder


def test_explorers_live_in_jupyterlab(lesson):
    from playwright.sync_api import expect

    with jupyterlab(lesson) as (base, token, get), browser(viewport={"width": 1280, "height": 1400}) as (page, asked, errors):
        notebook = open_and_run(page, base, token, get, "lesson.ipynb")
        page.keyboard.press("Escape")

        def shown(kind: str):
            "The first explorer of a kind."
            view = notebook.locator(f".vfs-{kind}").first
            view.wait_for(timeout=1000 * PATIENCE)
            view.scroll_into_view_if_needed()
            return view

        view = shown("attention")
        expect(view.locator("label.vfs-file")).to_be_visible()  # Python answered: its controls are there
        look_around(view, 8)
        view.locator(".vfs-thumbs button").nth(6).click()  # an image that only Python has
        expect(view.locator(".vfs-thumbs button").nth(6)).to_have_attribute("aria-pressed", "true")
        view.get_by_label("a click switches the head off").check()
        bars, seen = view.locator(".vfs-bars"), []
        for title in ("1 head off", "Prediction (", "1 head off", "Prediction (", "1 head off"):  # the title says when Python's numbers are there
            view.locator(".vfs-wall-grid button").nth(3).click()
            expect(view.locator("h4").first).to_contain_text(title)
            seen.append(bars.inner_text())
        without, certain = seen[:2]
        assert without != certain and seen == [without, certain, without, certain, without]  # off and on again: the same numbers come once more
        view.get_by_role("button", name="Switch all heads on").click()
        expect(view.locator("h4").first).to_contain_text("Prediction (")
        sixth = pixels(view)
        for number, back in ((0, False), (6, True)):  # an image is left and seen again
            view.locator(".vfs-thumbs button").nth(number).click()
            until(lambda: (pixels(view) == sixth) == back, "an image does not come back as it was")  # noqa: B023

        known = view.locator(".vfs-thumbs button").count()
        view.locator(".vfs-file input").set_input_files({"name": "clear.png", "mimeType": "image/png", "buffer": transparent_png()})
        expect(view.locator(".vfs-thumbs button")).to_have_count(known + 1)
        view.get_by_label("Opacity").fill("0")
        until(lambda: min(view.locator("canvas.vfs-main").evaluate("c => [...c.getContext('2d').getImageData(20, 20, 1, 1).data]")) > 200, "what is transparent turns black")

        panel = shown("playground")
        expect(panel.get_by_role("button", name="Train", exact=True)).to_be_visible()
        tokens = panel.locator(".vfs-numbers dd").first
        expect(tokens).to_have_text("65")
        heads = panel.locator('label:has(span:text-is("heads h")) input')
        heads.focus()
        heads.press("ArrowRight")
        expect(panel.locator(".vfs-problem")).to_contain_text("num_heads=6")
        expect(panel.get_by_role("button", name="Train", exact=True)).to_be_hidden()
        heads.press("ArrowLeft")
        epochs = panel.locator('label:has(span:text-is("epochs")) input')
        epochs.focus()
        epochs.press("End")
        expect(panel.locator(".vfs-problem")).to_be_hidden()
        panel.get_by_role("button", name="Train", exact=True).click()
        curve = panel.locator("svg").first.locator("path").nth(4)  # training loss of the third run
        points = lambda: int(curve.get_attribute("data-points") or 0)  # noqa: E731
        for least in (2, points() + 3 if curve.count() else 5):
            until(lambda: curve.count() and points() >= least, "the curve does not grow")  # noqa: B023
        panel.get_by_role("button", name="Stop", exact=True).click()
        expect(panel.locator(".vfs-status")).to_contain_text("run 3: stopped")
        panel.locator('button[data-run="2"]').click()
        opened = notebook.locator(".jp-OutputArea-output:has(.vfs-playground) .vfs-attention")
        opened.wait_for(timeout=1000 * PATIENCE)
        patch(opened, 1, 1, 8)
        expect(opened.locator(".vfs-readout").first).to_contain_text("Patch 9 (row 1, column 1)")

        outside = [url for url in asked if not url.startswith((base, "data:", "blob:"))]
        assert outside == []
        assert notebook.locator('[data-mime-type="application/vnd.jupyter.error"]').count() == 0
        assert errors == []


def drawn(canvas) -> str:
    return canvas.evaluate("c => c.toDataURL()")


@pytest.fixture
def small_page(tmp_path):
    "Opens an explorer that needs no model of size, as a page from disk; every page must stay without errors."
    from vit_from_scratch.data import make_shapes

    images, labels, _ = make_shapes(4, 32)
    with browser(viewport={"width": 1000, "height": 900}) as (page, _, errors):

        def opened(explorer):
            page.goto(explorer.to_html(tmp_path / "page.html").as_uri())
            return page.locator(".vfs")

        yield opened, images, labels
        assert errors == []


def test_patches_follow_the_slider(small_page):
    from playwright.sync_api import expect

    from vit_from_scratch.explore import PatchExplorer

    opened, images, _ = small_page
    view = opened(PatchExplorer(images[0], [4, 8, 16]))
    grid, readout, size = view.locator("canvas").first, view.locator(".vfs-readout"), view.get_by_label("Patch size")
    expect(readout).to_contain_text("8 × 8 = 64 patches")
    before = drawn(grid)
    size.focus()
    size.press("ArrowRight")
    expect(readout).to_contain_text("4 × 4 = 16 patches")
    assert drawn(grid) != before, "the grid on the image follows the patch size"
    grid.focus()
    for key, row, column in (("ArrowRight", 0, 0), ("ArrowUp", 0, 0), ("ArrowLeft", 0, 0), ("ArrowRight", 0, 1), ("ArrowDown", 1, 1), *[("ArrowDown", None, None)] * 5, ("ArrowRight", 3, 2)):
        grid.press(key)  # at the border the arrow keys stay where they are
        if row is not None:
            expect(readout).to_contain_text(f"(row {row}, column {column})")


def test_positions_follow_the_pointer(small_page):
    from playwright.sync_api import expect

    from vit_from_scratch.explore import PositionExplorer
    from vit_from_scratch.vit import ViT

    opened, *_ = small_page
    view = opened(PositionExplorer(ViT(32, 8, num_classes=10, embed_dim=32, depth=1, num_heads=2, pos_embed="sincos")))
    panel, readout = view.locator("canvas.vfs-position").first, view.locator(".vfs-readout")
    before, text = drawn(panel), readout.inner_text()
    panel.hover(position={"x": 3, "y": 3})
    expect(readout).to_contain_text("row 0, column 0")
    assert readout.inner_text() != text
    until(lambda: drawn(panel) != before, "the panel does not follow the pointer")


def test_augmentations_follow_the_choice(small_page):
    from vit_from_scratch.data import SHAPE_CLASSES
    from vit_from_scratch.explore import AugmentationExplorer

    opened, images, labels = small_page
    view = opened(AugmentationExplorer(images, labels, SHAPE_CLASSES))
    sheet, change = view.locator(".vfs-sheet"), view.get_by_label("Change")
    seen = set()
    for kind in ("shift", "RandAugment", "CutMix"):
        change.select_option(label=kind)
        until(lambda: f"after: {kind}" in sheet.inner_text(), kind)  # noqa: B023
        seen.add("".join(map(drawn, sheet.locator("canvas").all())))
    assert len(seen) == 3


def test_saved_page_opens_from_disk(tmp_path):
    import torch
    from playwright.sync_api import expect

    from vit_from_scratch.data import make_shapes
    from vit_from_scratch.explore import AttentionExplorer
    from vit_from_scratch.vit import ViT

    torch.manual_seed(0)
    images, labels, _ = make_shapes(3, 32)
    model = ViT(32, 8, num_classes=10, embed_dim=32, depth=3, num_heads=2)
    path = AttentionExplorer(model, images, labels=labels).to_html(tmp_path / "page.html")
    with browser(viewport={"width": 800, "height": 1000}) as (page, asked, errors):
        page.goto(path.as_uri())
        view = page.locator(".vfs-attention")
        look_around(view, 4)
        view.locator(".vfs-thumbs button").nth(2).click()
        expect(view.locator(".vfs-thumbs button").nth(2)).to_have_attribute("aria-pressed", "true")
        for method in ("rollout", "relevance", "lens"):
            before = pixels(view)
            view.get_by_label("Show").select_option(method)
            until(lambda: pixels(view) != before, method)  # noqa: B023
        canvas = view.locator("canvas.vfs-main")
        canvas.focus()
        canvas.press("Home")
        canvas.press("ArrowRight")
        expect(view.locator(".vfs-readout").first).to_contain_text(re.compile("patch 0", re.I))
        expect(view.locator("[aria-live=polite]")).to_contain_text(re.compile("patch 0", re.I))  # the screen reader hears it too
        for text in ("Use your own picture", "a click switches the head off"):  # these need Python
            expect(view.get_by_text(text)).to_be_hidden()
        with page.expect_download() as saved:
            view.get_by_role("button", name="Save as PNG").click()
        assert Path(saved.value.path()).read_bytes()[:4] == b"\x89PNG"
        assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
        assert errors == []


# ---------------------------------------------------------------- what a first visitor found
LONG = [f"a-very-long-class-name-without-a-single-space-number-{i}" for i in range(12)]


def a_view(state: dict, folder: Path) -> str:
    "The address of a page that shows an explorer in a given state."
    from vit_from_scratch.explore import page_part

    path = folder / "view.html"
    path.write_text(f'<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width"><body>{page_part(state)}<div style="height:3000px">')
    return path.as_uri()


def an_averaging_model():
    "A small ViT without a class token, and three images with their true classes."
    import torch

    from vit_from_scratch.data import make_shapes
    from vit_from_scratch.vit import ViT

    torch.manual_seed(0)
    images, labels, _ = make_shapes(3, 32)
    return ViT(32, 8, num_classes=12, embed_dim=32, depth=3, num_heads=2, pool="avg").eval(), images, labels


def test_numbers_of_one_page_agree(tmp_path):
    from playwright.sync_api import expect

    from vit_from_scratch.explore import AttentionExplorer

    model, images, labels = an_averaging_model()
    explorer = AttentionExplorer(model, images, labels=labels)
    with browser(viewport={"width": 1000, "height": 1000}) as (page, _, errors):
        page.goto(a_view(explorer.state(), tmp_path))
        view, show = page.locator(".vfs-attention"), page.get_by_label("Show")
        main = view.locator("canvas.vfs-main")
        assert main.bounding_box()["width"] == main.evaluate("c => c.width") == 448
        bars = view.locator(".vfs-right > .vfs-bars .vfs-bar")
        named = dict(text.split("\n")[::2] if text.count("\n") > 1 else text.split("\n") for text in bars.all_inner_texts())
        show.select_option("lens")
        rows = view.locator(".vfs-lens .vfs-bar")
        expect(view.locator(".vfs-lens h4")).to_contain_text("the mean of all patches")
        name, certainty = next(iter(named.items()))
        expect(rows.last).to_contain_text(f"{certainty} {name.removesuffix(' ✓')}")  # the lens ends in the prediction
        for some in (bars, rows):
            assert len({round(bar.evaluate("b => b.clientWidth"), 1) for bar in some.locator("i").all()}) == 1, "equal numbers, unequal bars"
        expect(view.locator(".vfs-wall-grid button")).to_have_count(3)  # the wall follows the method
        true = int(labels[0])
        assert any("✓" in text for text in named), "the true class is on the page"
        main.click(position={"x": 200, "y": 200})
        page.mouse.move(2, 2)
        view.get_by_title(f"What speaks for class {true}?").click()
        expect(view.locator(".vfs-readout").first).to_contain_text("The mean of all patches leaned most on")
        expect(view.locator(".vfs-readout").first).to_contain_text(f"relevance for class {true}")
        expect(view.locator(".vfs-wall")).to_be_hidden()
        every = [[block, head] for block in range(3) for head in range(2)]
        page.goto(a_view(explorer.state() | {"ablated": every, "frame": explorer.shelf.compute(0, every)}, tmp_path))
        expect(view.locator("h4").first).to_contain_text("6 heads off")
        changes = [re.search(r"\([+−]\d+\.\d\)", text) for text in bars.all_inner_texts()]
        assert changes and all(changes), "every class shows its change"
        assert errors == []


def test_even_attention_looks_even(tmp_path):
    import torch

    from vit_from_scratch.explore import AttentionExplorer

    model, images, _ = an_averaging_model()
    with torch.no_grad():
        for block in model.blocks:
            block.attn.qkv.weight[:64] *= 0.02  # queries and keys near zero: no preference
    with browser(viewport={"width": 1000, "height": 1000}) as (page, _, errors):
        page.goto(a_view(AttentionExplorer(model, images).state(), tmp_path))
        view = page.locator(".vfs-attention")
        assert view.locator(".vfs-level").is_visible() and "6.25 %" in view.locator(".vfs-level").get_attribute("title")
        tile = view.locator(".vfs-wall-canvas").evaluate("c => [...c.getContext('2d').getImageData(0, 0, 4, 4).data]")
        assert max(tile[0::4]) < 100 and max(tile[1::4]) < 110, "attention without a preference is not yellow"
        assert errors == []


def test_a_tap_and_the_keys_do_something(tmp_path):
    from playwright.sync_api import expect

    from vit_from_scratch.explore import AttentionExplorer, PatchExplorer, PositionExplorer

    model, images, _ = an_averaging_model()
    views = {"canvas": PatchExplorer(images[0], [8]), "canvas.vfs-position": PositionExplorer(model), "canvas.vfs-main": AttentionExplorer(model, images)}
    with browser(viewport={"width": 390, "height": 800}, has_touch=True) as (page, _, errors):
        for selector, explorer in views.items():
            page.goto(a_view(explorer.state(), tmp_path))
            canvas, readout = page.locator(selector).first, page.locator(".vfs-readout").first
            box = canvas.bounding_box()
            page.touchscreen.tap(box["x"] + 0.6 * box["width"], box["y"] + 0.1 * box["height"])
            expect(readout).to_contain_text(re.compile(r"row 0, column 2", re.I))
            canvas.focus()
            before = page.evaluate("scrollY")
            for key, row in (("Home", None), ("Enter", None), ("End", 3), (" ", None)):
                seen = drawn(canvas), page.locator(".vfs").inner_text()
                canvas.press(key)
                if row is not None:
                    expect(readout).to_contain_text(f"row {row}, column {row}")
                elif key == "Enter":
                    until(lambda: (drawn(canvas), page.locator(".vfs").inner_text()) != seen, f"{selector}: Enter does nothing")  # noqa: B023
            assert page.evaluate("scrollY") == before, f"{selector}: the page scrolled under the keys"
        assert errors == []


def test_a_phone_is_wide_enough(tmp_path):
    import torch

    from vit_from_scratch.explore import AttentionExplorer
    from vit_from_scratch.vit import ViT

    torch.manual_seed(0)
    deep = ViT(32, 8, num_classes=12, embed_dim=24, depth=24, num_heads=12)
    explorer = AttentionExplorer(deep, torch.rand(2, 3, 32, 32), classes=LONG, labels=[3, 4])
    with browser(viewport={"width": 390, "height": 800}) as (page, _, errors):
        for method in ("attention", "lens", "relevance"):
            page.goto(a_view(explorer.state() | {"method": method}, tmp_path))
            page.locator(".vfs-bar").first.wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= 390, method
            small = page.locator(".vfs").evaluate("root => [...root.querySelectorAll('button, input, select')].map(n => [n, n.getBoundingClientRect()]).filter(([n, b]) => n.offsetParent && b.width > 2 && Math.min(b.width, b.height) < 23.9).map(([n, b]) => n.outerHTML.slice(0, 80) + b.width + ' x ' + b.height)")
            assert small == [], "too small for a finger"
        assert errors == []


# ---------------------------------------------------------------- the model in the page, beside a kernel
FAKE_KERNEL = """
class FakeKernel {  // the widget's model: it answers a ping and hands out the parts, and keeps what it was asked
  constructor(state, parts) { Object.assign(this, { state, parts, listeners: {}, sent: [], heard: 0 }); }
  get(key) { return this.state[key]; }
  set(key, value) { if (this.state[key] !== value) { this.state[key] = value; (this.listeners[`change:${key}`] ?? []).forEach((f) => f()); } }
  on(name, f) { (this.listeners[name] ??= []).push(f); }
  off() {}
  save_changes() {}
  send(message) {
    this.sent.push(message.type);
    const tell = (content, buffers) => setTimeout(() => (this.listeners["msg:custom"].forEach((f) => f(content, buffers)), this.heard++));
    if (message.type === "ping") tell({ type: "pong" }, []);
    if (message.type === "model") { const { known, data } = this.parts[message.part]; tell(known, [new DataView(bytes({ $b64: data }).buffer)]); }
  }
}
globalThis.kernel = new FakeKernel(STATE, PARTS);
globalThis.framesOf = (parts) => localFrames({ ...parts.at(-1).known, bytes: join(parts.map(({ data }) => bytes({ $b64: data }))) });
render({ model: kernel, el: document.body });
"""


def test_a_small_model_answers_in_the_page_without_its_kernel(tmp_path, monkeypatch):
    import base64

    import torch
    from playwright.sync_api import expect

    from vit_from_scratch.explore import AttentionExplorer, ModelParts, _as_json
    from vit_from_scratch.interpret import ablate_heads, attention_maps, relevance

    model, images, labels = an_averaging_model()
    monkeypatch.setattr(ModelParts, "PART", 60_000)
    explorer, parts = AttentionExplorer(model, images, labels=labels), []
    monkeypatch.setattr(explorer, "send", lambda known, buffers: parts.append({"known": known, "data": base64.b64encode(buffers[0]).decode()}))
    state = explorer.get_state()
    for part in range(4):
        explorer.answer({"type": "model", "part": part}, [])
    assert [part["known"]["parts"] for part in parts] == [4] * 4 and explorer.page_computes
    code = explorer._esm + FAKE_KERNEL.replace("STATE", _as_json({k: v for k, v in state.items() if not k.startswith("_") and k != "layout"})).replace("PARTS", json.dumps(parts))
    (tmp_path / "lab.html").write_text(f'<!doctype html><meta charset="utf-8"><style>{explorer._css}</style><body><script type="module">{code}</script>')

    @torch.no_grad()
    def answers(index, off=()):
        with ablate_heads(model, off):
            return model(explorer.shelf.one(index))[0].softmax(0)

    with browser(viewport={"width": 1000, "height": 1000}) as (page, _, errors):
        page.goto((tmp_path / "lab.html").as_uri())
        view, bars = page.locator(".vfs-attention"), page.locator(".vfs-right > .vfs-bars .vfs-bar")
        until(lambda: page.evaluate("kernel.heard") == 5, "the model does not come")  # the pong and four parts
        assert page.evaluate("kernel.sent.filter((type) => type === 'model').length") == 4

        def says(p) -> bool:
            best = int(p.argmax())
            first = bars.first.inner_text()
            return first.startswith(f"class {best}") and f"{100 * p[best]:.1f} %" in first

        view.locator(".vfs-thumbs button").nth(2).click()
        until(lambda: says(answers(2)), "another picture")
        view.get_by_label("a click switches the head off").check()
        view.locator(".vfs-wall-grid button").nth(1).click()  # block 1, head 0
        until(lambda: says(answers(2, [(1, 0)])), "a head off")
        expect(view.locator("h4").first).to_contain_text("1 head off")
        view.get_by_label("Show").select_option("relevance")
        view.locator("label:has(span:text-is('Class')) select").select_option("5")
        with ablate_heads(model, [(1, 0)]):
            matrix = relevance(model, explorer.shelf.one(2), 5)[0] - torch.eye(16)
        expect(view.locator(".vfs-readout").first).to_contain_text(f"leaned most on patch {int(matrix.clamp(min=0).mean(0).argmax())}")
        assert set(page.evaluate("kernel.sent")) == {"ping", "model"}, "Python was asked"
        found = page.evaluate("parts => framesOf(parts).frame(1, []).then((f) => ({ attention: [...f.attention], prob: [...f.lens.prob], shown: f.probabilities }))", parts)
        weights = attention_maps(model, explorer.shelf.one(1))[:, 0]
        assert (torch.tensor(found["attention"]).view(weights.shape) - weights).abs().max() < 1e-5
        assert all(abs(p - answers(1)[k]) < 1e-5 for k, p in found["shown"])
        assert (torch.tensor(found["prob"]).view(4, 17, 12)[-1, -1] - answers(1)).abs().max() < 1e-5  # the lens ends in the answer
        assert errors == []
