// The position explorer: how similar each position is to all others.
import { KINDS } from "./hosts.js";
import { bytes, colours, h, scheduler, speaker, tick } from "./tools.js";

function positions(model, el, host) {
  const { rows, cols, titles } = model.get("info"),
    N = rows * cols,
    sims = model.get("similarities").map((b) => new Int8Array(bytes(b).slice().buffer)),
    sr = speaker(),
    note = h("div", { class: "vfs-readout" });
  let hover = null;
  const stretch = tick("stretch the colours of each panel to its own range", (on) => host.put({ stretch: on })),
    low = h("span"),
    high = h("span");
  const table = colours("redblue"),
    now = () => hover ?? model.get("position");
  const panels = titles.map((title, i) => {
    const c = h("canvas", {
      class: "vfs-position",
      width: cols * 32,
      height: rows * 32,
      tabindex: i ? -1 : 0,
      role: "application",
      "aria-label":
        `${title} position embeddings. Arrow keys move the position, Enter ` +
        `goes to the mirrored one, Home and End to the first and the last.`,
    });
    return [c, h("figure", {}, h("figcaption", {}, title), c)];
  });
  const legend = h("canvas", { class: "vfs-legend", width: 256, height: 1, "aria-hidden": "true" });
  el.append(
    h("div", { class: "vfs-columns" }, ...panels.map(([, f]) => f)),
    h("div", { class: "vfs-legend-row" }, low, legend, high),
    stretch.node,
    note,
    sr.node,
  );
  {
    const ctx = legend.getContext("2d"),
      d = ctx.createImageData(256, 1);
    for (let i = 0; i < 256; i++) d.data.set([table[3 * i], table[3 * i + 1], table[3 * i + 2], 255], 4 * i);
    ctx.putImageData(d, 0, 0);
  }
  function draw() {
    const t = now();
    panels.forEach(([c], k) => {
      const ctx = c.getContext("2d"),
        row = sims[k].subarray(t * N, (t + 1) * N),
        own = model.get("stretch"),
        least = own ? Math.min(...row) : -127,
        most = own ? Math.max(...row.filter((_, j) => j !== t)) : 127;
      for (let j = 0; j < N; j++) {
        const v = 3 * Math.min(255, Math.round((255 * (row[j] - least)) / (most - least || 1)));
        ctx.fillStyle = `rgb(${table[v]},${table[v + 1]},${table[v + 2]})`;
        ctx.fillRect((j % cols) * 32, Math.floor(j / cols) * 32, 31, 31);
      }
      for (const [w, s] of [
        [5, "#000"],
        [2.5, "#fff"],
      ]) {
        ctx.lineWidth = w;
        ctx.strokeStyle = s;
        ctx.strokeRect((t % cols) * 32 + 2, Math.floor(t / cols) * 32 + 2, 27, 27);
      }
    });
    low.textContent = model.get("stretch") ? "least" : "−1";
    high.textContent = model.get("stretch") ? "most, itself apart (cosine similarity)" : "1 (cosine similarity)";
    stretch.set(model.get("stretch"));
    const r = Math.floor(t / cols),
      c = t % cols,
      far = (rows - 1 - r) * cols + (cols - 1 - c),
      next = c + 1 < cols ? t + 1 : t - 1;
    const text =
      `Position row ${r}, column ${c}. ` +
      titles
        .map(
          (title, k) =>
            `${title}: ${(sims[k][t * N + next] / 127).toFixed(2)} to its neighbour, ` +
            `${(sims[k][t * N + far] / 127).toFixed(2)} to the mirrored corner`,
        )
        .join("; ") +
      ".";
    if (note.textContent !== text) {
      note.textContent = text;
      sr.say(text);
    }
  }
  const redraw = scheduler(draw);
  for (const [c] of panels) {
    const under = (e) => {
      const b = c.getBoundingClientRect();
      return (
        Math.max(0, Math.min(rows - 1, Math.floor(((e.clientY - b.top) / b.height) * rows))) * cols +
        Math.max(0, Math.min(cols - 1, Math.floor(((e.clientX - b.left) / b.width) * cols)))
      );
    };
    c.addEventListener("pointermove", (e) => {
      const t = under(e);
      if (t !== hover) {
        hover = t;
        redraw();
      }
    });
    c.addEventListener("pointerleave", () => {
      hover = null;
      redraw();
    });
    c.addEventListener("click", (e) => host.put({ position: under(e) })); // a tap has no hovering before it
    c.addEventListener("keydown", (e) => {
      const t = model.get("position"),
        move = {
          ArrowLeft: t % cols ? -1 : 0,
          ArrowRight: t % cols < cols - 1 ? 1 : 0,
          ArrowUp: t >= cols ? -cols : 0,
          ArrowDown: t + cols < N ? cols : 0,
          Home: -t,
          End: N - 1 - t,
          Enter: N - 1 - 2 * t,
          " ": N - 1 - 2 * t,
        }[e.key];
      if (move === undefined) return;
      e.preventDefault();
      e.stopPropagation();
      hover = null;
      host.put({ position: t + move });
    });
  }
  host.on("change:position", redraw);
  host.on("change:stretch", redraw);
  draw();
}
KINDS.positions = positions;
