// The patch explorer: cut one image into patches, read them as a sequence, put it together again.
import { KINDS } from "./hosts.js";
import { bytes, h, picture, scheduler, slider, speaker, tick } from "./tools.js";

function patches(model, el, host) {
  const { height, width, sizes } = model.get("info"),
    source = picture(bytes(model.get("image")), width, height),
    zoom = Math.max(1, Math.round(256 / width));
  let hover = null,
    pinned = null,
    order = [];
  const get = (k) => model.get(k),
    marked = () => hover ?? pinned,
    side = () => sizes[Math.min(get("size"), sizes.length - 1)],
    sr = speaker();
  const size = slider(
    "Patch size",
    0,
    sizes.length - 1,
    1,
    (i) => `${sizes[i]} × ${sizes[i]} pixels`,
    (i) => host.put({ size: i }),
  );
  const put = slider(
    "Patches put back",
    0,
    100,
    1,
    (v) => `${v} %`,
    (v) => host.put({ share: v / 100 }),
  );
  const shuffle = tick("shuffle the sequence first", (on) => host.put({ shuffled: on }));
  const canvas = (label) => {
    const c = h("canvas", { role: "img", "aria-label": label });
    c.width = width * zoom;
    c.height = height * zoom;
    return c;
  };
  const grid = canvas("The image with its patch grid"),
    back = canvas("The image put together from the sequence"),
    strip = h("canvas", { role: "img", "aria-label": "The sequence of patches" }),
    note = h("div", { class: "vfs-readout" });
  grid.tabIndex = 0;
  grid.setAttribute("role", "application");
  grid.setAttribute(
    "aria-label",
    "The image with its patch grid. Arrow keys move from patch to patch, Home and " +
      "End to the first and the last; Enter puts the sentence back up to this patch.",
  );
  const box = (title, c) => h("figure", {}, h("figcaption", {}, title), c);
  el.append(
    h("div", { class: "vfs-row" }, size.node, put.node, shuffle.node),
    h("div", { class: "vfs-columns vfs-three" }, box("cut", grid), box("the sequence", strip), box("put back", back)),
    note,
    sr.node,
  );
  const count = () => [Math.floor(height / side()), Math.floor(width / side())];
  function shuffled(n) {
    const a = Array.from({ length: n }, (_, i) => i);
    let seed = 7;
    for (let i = n - 1; i > 0; i--) {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      const j = seed % (i + 1);
      [a[i], a[j]] = [a[j], a[i]];
    }
    return a;
  }
  function draw() {
    const p = side(),
      [rows, cols] = count(),
      n = rows * cols;
    order = get("shuffled") ? shuffled(n) : Array.from({ length: n }, (_, i) => i);
    const g = grid.getContext("2d"),
      b = back.getContext("2d"),
      s = strip.getContext("2d"),
      done = Math.round(get("share") * n);
    g.imageSmoothingEnabled = b.imageSmoothingEnabled = false;
    g.drawImage(source, 0, 0, grid.width, grid.height);
    b.clearRect(0, 0, back.width, back.height);
    g.strokeStyle = "rgba(255,255,255,.6)";
    // still there when the canvas is shown smaller
    g.lineWidth = Math.max(1, (1.2 * grid.width) / (grid.clientWidth || grid.width));
    for (let i = 0; i < n; i++)
      g.strokeRect((i % cols) * p * zoom + 0.5, Math.floor(i / cols) * p * zoom + 0.5, p * zoom, p * zoom);
    const across = Math.ceil(Math.sqrt(n * 1.3)),
      cell = Math.floor((width * zoom) / across),
      gap = n > 400 ? 0 : cell > 12 ? 3 : 1;
    strip.width = across * cell;
    strip.height = Math.ceil(n / across) * cell;
    s.imageSmoothingEnabled = false;
    order.forEach((i, at) => {
      const sx = (i % cols) * p,
        sy = Math.floor(i / cols) * p,
        x = (at % across) * cell,
        y = Math.floor(at / across) * cell;
      s.drawImage(source, sx, sy, p, p, x, y, cell - gap, cell - gap);
      if (at < done)
        b.drawImage(source, sx, sy, p, p, (at % cols) * p * zoom, Math.floor(at / cols) * p * zoom, p * zoom, p * zoom);
      if (i === marked())
        for (const [ctx, rx, ry, w] of [
          [g, sx * zoom, sy * zoom, p * zoom],
          [s, x, y, cell - gap],
          ...(at < done ? [[b, (at % cols) * p * zoom, Math.floor(at / cols) * p * zoom, p * zoom]] : []),
        ])
          for (const [lw, c] of [
            [5, "#000"],
            [2.5, "#fff"],
          ]) {
            ctx.lineWidth = lw;
            ctx.strokeStyle = c;
            ctx.strokeRect(rx + 1.5, ry + 1.5, w - 3, w - 3);
          }
    });
    const text =
      (marked() === null
        ? ""
        : `Patch ${marked()} (row ${Math.floor(marked() / cols)}, column ` +
          `${marked() % cols}) is word ${order.indexOf(marked())} of the sentence. `) +
      `${rows} × ${cols} = ${n} patches, each a vector of 3 × ${p} × ${p} = ` +
      `${3 * p * p} numbers; attention compares ${(n * n).toLocaleString("en")} pairs.` +
      (height % p || width % p ? ` ${p} does not divide ${height} × ${width}: a model would refuse it.` : "");
    if (note.textContent !== text) {
      note.textContent = text;
      sr.say(text);
    }
  }
  const redraw = scheduler(draw);
  function over(e, c) {
    const r = c.getBoundingClientRect();
    return [(e.clientX - r.left) / r.width, (e.clientY - r.top) / r.height].map((x) => (x >= 0 && x < 1 ? x : NaN));
  } // NaN: a captured pointer has left
  const point = (i) => {
    if (i !== hover) {
      hover = i;
      redraw();
    }
  };
  function under(e, c) {
    // the patch at a place on one of the three pictures
    const [x, y] = over(e, c),
      [rows, cols] = count();
    if (c === strip) {
      const across = Math.ceil(Math.sqrt(rows * cols * 1.3)),
        cell = Math.floor((width * zoom) / across);
      return order[Math.floor((y * strip.height) / cell) * across + Math.floor((x * strip.width) / cell)] ?? null;
    }
    const i =
      Math.min(rows - 1, Math.floor((y * height) / side())) * cols +
      Math.min(cols - 1, Math.floor((x * width) / side()));
    return i >= 0 ? ((c === grid ? i : order[i]) ?? null) : null;
  }
  for (const c of [grid, back, strip]) {
    c.addEventListener("pointermove", (e) => point(under(e, c)));
    c.addEventListener("pointerleave", () => point(null));
    c.addEventListener("click", (e) => {
      const i = under(e, c);
      pinned = i === pinned ? null : i;
      redraw();
    }); // a tap has no hovering before it
  }
  grid.addEventListener("keydown", (e) => {
    const [rows, cols] = count(),
      at = marked(),
      move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[e.key];
    if (move) {
      const [row, column] = at === null ? [0, 0] : [Math.floor(at / cols) + move[0], (at % cols) + move[1]];
      pinned = Math.min(rows - 1, Math.max(0, row)) * cols + Math.min(cols - 1, Math.max(0, column));
    } else if (e.key === "Home" || e.key === "End") pinned = e.key === "Home" ? 0 : rows * cols - 1;
    else if (e.key === "Enter" || e.key === " ")
      host.put({ share: at === null ? 1 : (order.indexOf(at) + 1) / (rows * cols) });
    else return;
    e.preventDefault();
    e.stopPropagation();
    hover = null;
    redraw();
  });
  function sync() {
    size.set(get("size"));
    put.set(Math.round(100 * get("share")));
    shuffle.set(get("shuffled"));
    redraw();
  }
  for (const k of ["share", "shuffled"]) host.on(`change:${k}`, sync);
  host.on("change:size", () => {
    hover = pinned = null;
    sync();
  });
  sync();
}
KINDS.patches = patches;
