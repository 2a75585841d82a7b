"""How long a page takes for one picture: `python tests/page_speed.py [MODEL]`, in Chromium, on this machine.

The median and the 95th percentile of 50 pictures after 5 that warm up, from asking the worker to having every number of
the forward pass in the page; the same pictures' processor time in Node, which other programs do not stretch as much;
and the size of the page for each precision of the weights.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from playwright.sync_api import sync_playwright

from vit_from_scratch.page import PRECISIONS, export_html, pack_model, run_in_node
from vit_from_scratch.weights import from_shipped

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]
ASK = """async () => {
  const lab = mountLive(document.createElement("div"), { ...VIT_PAGE, hash: false }), times = [], { C, H, W } = lab.model;
  for (let i = 0; i < 55; i++) {
    const pixels = Float32Array.from({ length: C * H * W }, () => 2 * Math.random() - 1), start = performance.now();
    await lab.engine.ask(0, { pixels, options: {}, target: -1 });
    if (i >= 5) times.push(performance.now() - start);
  }
  return times;
}"""


CPU = """
const model = vit.unpackModel(given), times = [];
for (let i = 0; i < 55; i++) {
  const pixels = Float32Array.from({ length: model.C * model.H * model.W }, () => 2 * Math.random() - 1), start = process.cpuUsage();
  vit.forward(model, pixels);
  const { user, system } = process.cpuUsage(start);
  if (i >= 5) times.push((user + system) / 1000);
}
return times;
"""


def main(name: str = "cifar10") -> None:
    model = from_shipped(name)
    images = torch.zeros(1, model.patch_embed.in_channels, *model.patch_embed.image_size)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        pages = {kind: export_html(model, images, Path(folder) / f"{kind}.html", precision=kind) for kind in PRECISIONS}
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium") or shutil.which("google-chrome"), args=FLAGS)
        tab = browser.new_page()
        tab.goto(pages["int8"].as_uri())
        times = sorted(tab.evaluate(ASK))
        browser.close()
        print(f"{name}, {sum(p.numel() for p in model.parameters()):,} parameters; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
        in_node = sorted(run_in_node(CPU, pack_model(model, "int8")))
        print(f"processor time in Node: median {in_node[24]:.0f} ms, 95th percentile {in_node[47]:.0f} ms")
        print(f"one picture: median {times[24]:.0f} ms, 95th percentile {times[47]:.0f} ms, fastest {times[0]:.0f} ms of {len(times)}")
        print("page: " + ", ".join(f"{kind} {path.stat().st_size / 1e6:.2f} MB" for kind, path in pages.items()))


if __name__ == "__main__":
    main(*sys.argv[1:])
