"""How long the explorers take: 95th percentile of many events, each measured to the end of the next animation frame.

Hovering is done with the browser's own mouse: its moves reach the page just before a frame, as a hand's do. Other events are
fired right after a frame, so their figures hold a whole frame of waiting (16.7 ms).

Run `python tests/latency.py [events]`. It drives JupyterLab in headless Chromium, so the figures include the kernel
where an event needs one. Model: 1.6 million parameters (32 x 32 images, patch 4, width 128, 8 blocks, 4 heads), and a
ViT-B/16 (12 blocks, 12 heads, 197 tokens); random weights. Exit code 1 if a limit is missed.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from test_browser import CHROMIUM, browser, jupyterlab, open_and_run  # noqa: E402

CELLS = {
    "small": """import torch
from vit_from_scratch.data import load_data
from vit_from_scratch.explore import AttentionExplorer, HyperparameterPlayground
from vit_from_scratch.vit import ViT
torch.manual_seed(0)
data = load_data("shapes", limit=512)
AttentionExplorer(ViT(32, 4, num_classes=10, embed_dim=128, depth=8, num_heads=4), data.test.images[:16])""",
    "playground": "HyperparameterPlayground(data)",
    "b16": "big = AttentionExplorer(ViT(224, 16, num_classes=1000), torch.rand(1, 3, 224, 224))\nbig",
    "payload": "print('payload', sum(len(v) for v in big.frames[0].values() if isinstance(v, bytes)))",
}

# `act` makes the browser fire an event; the clock starts when the page handles it and stops at the end of the frame that shows it.
MEASURE = """async ({selector, kind, count}) => {
  const root = document.querySelectorAll(selector)[0], times = [];
  const frame = () => new Promise((done) => requestAnimationFrame(() => { const c = new MessageChannel(); c.port1.onmessage = () => done(); c.port2.postMessage(0); }));
  const drawn = () => new Promise((done) => requestAnimationFrame(() => done(performance.now())));
  const label = (text) => [...root.querySelectorAll("label")].find((l) => l.textContent.startsWith(text)).querySelector("input");
  const seen = (node, act) => new Promise((done, fail) => { const o = new MutationObserver(() => { o.disconnect(); clearTimeout(t); done(); }); o.observe(node, {childList: true, subtree: true, characterData: true}); const t = setTimeout(() => { o.disconnect(); fail(new Error("nothing changed")); }, 20000); act(); });
  for (let i = 0; i < count; i++) {
    await frame();
    let began;
    if (kind === "Block" || kind === "Head") {
      const input = label(kind), span = input.max - input.min + 1;
      began = performance.now();
      input.value = +input.min + ((+input.value - input.min + 1) % span); input.dispatchEvent(new Event("input", {bubbles: true}));
    } else if (kind === "image") {
      const buttons = root.querySelectorAll(".vfs-thumbs button"), bars = root.querySelector(".vfs-bars"), readout = root.querySelector(".vfs-readout");
      await new Promise((done) => setTimeout(done, 30));
      const before = bars.textContent, b = buttons[1 + (i % (buttons.length - 1))];
      began = performance.now(); b.click();
      while (bars.textContent === before) await new Promise((done) => { const c = new MessageChannel(); c.port1.onmessage = done; c.port2.postMessage(0); });
    } else {
      const input = label("depth L"), numbers = root.querySelector(".vfs-numbers");
      await new Promise((done) => setTimeout(done, 30));
      began = performance.now();
      await seen(numbers, () => { input.value = (+input.value + 1) % (+input.max + 1); input.dispatchEvent(new Event("input", {bubbles: true})); });
    }
    times.push(await drawn() - began);
  }
  return times;
}"""


# A move is timed from the moment the page hears of it to the end of the frame in which the explorer has drawn.
LISTEN = """() => {
  window.moves = [];
  let began = 0;
  document.addEventListener("pointermove", () => { began = performance.now(); }, true);
  document.addEventListener("pointermove", () => { const from = began; requestAnimationFrame(() => window.moves.push(performance.now() - from)); });
}"""


def hover(page, canvas, events: int, patches: int) -> list[float]:
    "Milliseconds of every move from one patch to another."
    page.evaluate("() => { window.moves = []; }")
    box = canvas.bounding_box()
    for i in range(events):
        k = (i * 13 + 5) % patches**2
        page.mouse.move(box["x"] + (k % patches + 0.5) * box["width"] / patches, box["y"] + (k // patches + 0.5) * box["height"] / patches)
        page.wait_for_function("n => window.moves.length >= n", arg=i + 1, timeout=5000)
    return page.evaluate("() => window.moves")


def lesson(folder: Path) -> None:
    "A notebook with the cells above."
    cells = [{"cell_type": "code", "id": name, "metadata": {}, "source": text, "outputs": [], "execution_count": None} for name, text in CELLS.items()]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    (folder / "latency.ipynb").write_text(json.dumps({"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}))


def main(events: int = 200) -> int:
    plan = [("hover a patch", ".vfs-attention", "hover", 16, events), ("move the block slider", ".vfs-attention", "Block", 50, events),
            ("move the head slider", ".vfs-attention", "Head", 50, events), ("another image (kernel)", ".vfs-attention", "image", 200, events),
            ("playground numbers (kernel)", ".vfs-playground", "numbers", 100, events),
            ("ViT-B/16: hover a patch", "BIG", "hover", 50, events), ("ViT-B/16: move the block slider", "BIG", "Block", 50, events)]
    missed, settings = 0, {"viewport": {"width": 1280, "height": 1200}}
    with tempfile.TemporaryDirectory() as folder, jupyterlab(Path(folder)) as (base, token, get):
        lesson(Path(folder))
        with browser(**settings) as (page, _, errors):
            notebook = open_and_run(page, base, token, get, "latency.ipynb", 300)
            notebook.locator(".vfs-attention").nth(1).wait_for(timeout=60_000)
            payload = int(notebook.get_by_text("payload").last.inner_text().split()[-1])
            page.wait_for_timeout(3000)
            page.evaluate("() => document.querySelectorAll('.vfs-attention')[1].classList.add('big')")
            page.evaluate(LISTEN)
            for what, selector, kind, limit, count in plan:
                selector = ".vfs.big" if selector == "BIG" else selector
                page.locator(selector).first.scroll_into_view_if_needed()
                page.wait_for_timeout(500)
                if kind == "hover":
                    canvas = page.locator(selector).first.locator("canvas.vfs-main")
                    canvas.scroll_into_view_if_needed()
                    times = hover(page, canvas, count, 14 if selector == ".vfs.big" else 8)
                else:
                    times = page.evaluate(MEASURE, {"selector": selector, "kind": kind, "count": count})
                times = sorted(times)
                p50, p95 = times[len(times) // 2], times[min(len(times) - 1, round(0.95 * len(times)))]
                missed += p95 > limit
                load = os.getloadavg()[0]
                print(f"{what:34s} p50 {p50:6.1f} ms   p95 {p95:6.1f} ms   limit {limit} ms   {'ok' if p95 <= limit else 'MISSED'}   ({count} events, load {load:.1f})", flush=True)
            print(f"{'ViT-B/16: payload':34s} {payload / 1e6:.2f} MB   limit 10 MB   {'ok' if payload < 10e6 else 'MISSED'}")
            missed += payload >= 10e6 or bool(errors)
            print(*errors, sep="\n")
    return int(missed > 0)


if __name__ == "__main__":
    if CHROMIUM is None:
        sys.exit("no Chromium on this machine: install it (Debian: apt install chromium)")
    sys.exit(main(*(int(a) for a in sys.argv[1:])))
