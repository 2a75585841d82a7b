// The attention explorer: frames that Python recorded, every head of every block, on one picture.
import { KINDS } from "./hosts.js";
import { fetchModel, localFrames } from "./local.js";
import {
  bytes,
  choice,
  colours,
  floats,
  h,
  percent,
  picture,
  refill,
  roughly,
  save,
  scheduler,
  slider,
  speaker,
  tick,
  words,
} from "./tools.js";

let serial = 0;

function attention(model, el, host) {
  const info = model.get("info"),
    { rows, cols, height, width, blocks, heads, prefix, classes } = info;
  const P = prefix.length,
    N = rows * cols,
    T = P + N,
    average = info.pool === "avg",
    ANSWER = -1,
    reader = average ? ANSWER : 0;
  const patchW = width / cols,
    patchH = height / rows,
    zoom = Math.max(1, Math.round(448 / width));
  const get = (key) => model.get(key),
    name = (c) => classes[c] ?? `class ${c}`;
  const frames = new Map();
  let frame = null,
    hover = null,
    switching = false,
    fetching = false,
    local = null, // computes frames in the page, once the model is there
    asked = new Set();

  function unpack(f) {
    const out = {
      ...f,
      serial: ++serial,
      picture: picture(bytes(f.image), width, height),
      grey: picture(greyed(bytes(f.image)), width, height),
      attention: bytes(f.attention),
      scale: floats(f.attention_scale),
      rollout: bytes(f.rollout),
      rolloutScale: floats(f.rollout_scale),
      lens: {
        best: words(f.lens_best),
        bestProb: floats(f.lens_best_prob),
        prob: floats(f.lens_prob),
        classes: f.lens_classes,
      },
      relevance: {},
    };
    for (const [c, r] of Object.entries(f.relevance || {}))
      out.relevance[c] = { q: bytes(r.q), scale: floats(r.scale) };
    return out;
  }
  const drawn = (f) => ({
    ...f,
    serial: ++serial,
    picture: picture(f.rgb, width, height),
    grey: picture(greyed(f.rgb), width, height),
  });
  function greyed(rgb) {
    // a photograph under a map: the colours belong to the map
    const out = new Uint8Array(rgb.length);
    for (let i = 0; i < rgb.length; i += 3)
      out.fill(0.299 * rgb[i] + 0.587 * rgb[i + 1] + 0.114 * rgb[i + 2], i, i + 3);
    return out;
  }
  for (const f of get("frames")) frames.set(f.index, f);
  function frameOf(index) {
    // unpack a frame that came with the widget when it is first shown
    const f = frames.get(index);
    if (f && !f.picture) frames.set(index, unpack(f));
    return frames.get(index);
  }

  // numbers: where token t looks, as T values. `read` walks a (…, T, T) byte table with one scale per row.
  function read(q, scale, base, token, incoming, out) {
    if (incoming) for (let i = 0; i < T; i++) out[i] = (q[(base + i) * T + token] * scale[base + i]) / 255;
    else for (let j = 0, s = scale[base + token] / 255, at = (base + token) * T; j < T; j++) out[j] = q[at + j] * s;
    return out;
  }
  const scratch = new Float32Array(T);
  function looks(q, scale, base, token, incoming) {
    if (token !== ANSWER) return read(q, scale, base, token, incoming, new Float32Array(T));
    const sum = new Float32Array(T); // no class token: the answer is the mean of the patches, so take their mean row
    for (let t = P; t < T; t++) {
      read(q, scale, base, t, false, scratch);
      for (let j = 0; j < T; j++) sum[j] += scratch[j] / N;
    }
    return sum;
  }
  function answerRows(block, head) {
    // means over all patches are slow to make: keep them
    const cache = (frame.answers ||= []),
      at = block * heads + head;
    return (cache[at] ||= looks(frame.attention, frame.scale, at * T, ANSWER, false));
  }
  function headRow(block, head, token, incoming) {
    return token === ANSWER
      ? answerRows(block, head)
      : looks(frame.attention, frame.scale, (block * heads + head) * T, token, incoming);
  }
  function values(token) {
    // the map that is on show
    const block = Math.max(0, get("block")),
      head = get("head"),
      incoming = get("incoming") && token !== ANSWER,
      method = get("method");
    if (method === "rollout") return looks(frame.rollout, frame.rolloutScale, block * T, token, incoming);
    if (method === "relevance") {
      const r = frame.relevance[target()];
      return r ? looks(r.q, r.scale, 0, token, incoming) : null;
    }
    if (method === "lens") {
      const out = new Float32Array(T);
      for (let t = 0; t < T; t++) out[t] = lensOf(get("block") + 1, t, target());
      return out;
    }
    if (typeof head === "number") return headRow(block, head, token, incoming);
    const out = new Float32Array(T);
    for (let k = 0; k < heads; k++) {
      const row = headRow(block, k, token, incoming);
      for (let j = 0; j < T; j++) out[j] = head === "max" ? Math.max(out[j], row[j]) : out[j] + row[j] / heads;
    }
    return out;
  }
  // The logit lens has one row more than there are tokens: what the head reads in the answer itself.
  const lensRow = (depth, token) => depth * (T + 1) + (token === ANSWER ? T : token);
  const known = (c) => frame.lens.classes.includes(c);
  const lensOf = (depth, token, c) =>
    frame.lens.prob[lensRow(depth, token) * frame.lens.classes.length + frame.lens.classes.indexOf(c)];
  // Half a step of the bytes that a row of numbers was read from.
  function errorOf(how, token, incoming) {
    if (frame.exact) return 0;
    const [scale, base, count] =
      how === "rollout"
        ? [frame.rolloutScale, Math.max(0, get("block")) * T, 1]
        : typeof get("head") === "number"
          ? [frame.scale, (Math.max(0, get("block")) * heads + get("head")) * T, 1]
          : [frame.scale, Math.max(0, get("block")) * heads * T, heads];
    let most = 0;
    for (let k = 0; k < count; k++) {
      if (token === ANSWER || incoming) for (let i = 0; i < T; i++) most = Math.max(most, scale[base + k * T + i]);
      else most = Math.max(most, scale[base + k * T + token]);
    }
    return most / 510;
  }
  const target = () =>
    get("target") >= 0 && (get("method") !== "lens" || known(get("target")))
      ? get("target")
      : frame.probabilities[0][0];
  const token = () => hover ?? get("token");
  const place = (t) =>
    t === ANSWER
      ? "the mean of all patches"
      : t < P
        ? prefix[t]
        : `patch ${t - P} (row ${Math.floor((t - P) / cols)}, column ${(t - P) % cols})`;

  // the page
  const thumbs = h("div", { class: "vfs-thumbs", role: "group", "aria-label": "Images" });
  const main = h("canvas", {
    class: "vfs-main",
    tabindex: 0,
    role: "application",
    "aria-label":
      "Image with patch grid. Arrow keys move the patch, Enter goes to the patch that it looks at " +
      "most, Home selects the token that answers, End the last patch, Page Up and Page Down change the block.",
  });
  main.width = width * zoom;
  main.height = height * zoom;
  const legend = h("canvas", { class: "vfs-legend", width: 256, height: 1, "aria-hidden": "true" }),
    legendMax = h("span"),
    even = h("span", { class: "vfs-level" }, "even"),
    legendRow = h(
      "div",
      { class: "vfs-legend-row" },
      h("span", {}, "0"),
      h("span", { class: "vfs-legend-box" }, legend, even),
      legendMax,
    );
  const readout = h("div", { class: "vfs-readout" }),
    sr = speaker();
  const tokens = h("div", { class: "vfs-buttons", role: "group", "aria-label": "Tokens that are not patches" });
  const tokenButtons = (average ? [[ANSWER, "mean of all patches"]] : [])
    .concat(prefix.map((text, t) => [t, text]))
    .map(([t, text]) => {
      const b = h(
        "button",
        {
          type: "button",
          onclick: () => {
            hover = null;
            host.put({ token: t });
          },
          onpointerenter: () => {
            hover = t;
            redraw();
          },
          onpointerleave: () => {
            hover = null;
            redraw();
          },
        },
        text,
      );
      tokens.append(b);
      return [t, b];
    });
  const method = choice(
    "Show",
    [
      ["attention", "attention (one block)"],
      ["rollout", "rollout (all blocks so far)"],
      ["relevance", "relevance for a class"],
      ["lens", "logit lens"],
    ],
    (v) => host.put({ method: v, block: Math.max(v === "lens" ? -1 : 0, get("block")) }),
  );
  const block = slider(
    "Block",
    1,
    blocks,
    1,
    (v) => (v ? `${v - 1} of 0–${blocks - 1}` : "before block 0"),
    (v) => host.put({ block: v - 1 }),
  );
  const headName = (k) => (k === heads ? "mean" : k === heads + 1 ? "max" : heads > 1 ? `${k} of 0–${heads - 1}` : "0");
  const head = slider("Head", 0, heads + (heads > 1), 1, headName, (k) =>
    host.put({ head: k === heads ? "mean" : k === heads + 1 ? "max" : k }),
  );
  const fusion = h(
    "div",
    { class: "vfs-buttons", role: "group", "aria-label": "All heads together" },
    ...["mean", "max"].map((v) =>
      h("button", { type: "button", onclick: () => host.put({ head: v }) }, `${v} of heads`),
    ),
  );
  const classPick = choice("Class", [], (v) => host.put({ target: +v }));
  const direction = tick("who looks at it, instead of where it looks", (on) => host.put({ incoming: on }));
  const opacity = slider(
    "Opacity",
    0,
    1,
    0.05,
    (v) => `${Math.round(100 * v)} %`,
    (v) => host.put({ opacity: v }),
  );
  const keep = slider(
    "Keep the top",
    1,
    100,
    1,
    (v) => (v === 100 ? "all" : `${v} %`),
    (v) => host.put({ keep: v / 100 }),
  );
  const cmap = choice(
    "Colours",
    ["viridis", "magma", "cividis", "grey"].map((c) => [c, c]),
    (v) => host.put({ colormap: v }),
  );
  const shared = tick("one colour scale for the whole wall", (on) => host.put({ shared_scale: on }));
  const bars = h("div", { class: "vfs-bars" }),
    barsTitle = h("h4", {}, "Prediction");
  const lens = h("div", { class: "vfs-lens" });
  const upload = h("input", {
    type: "file",
    accept: "image/*",
    onchange: () => {
      if (upload.files[0]) send(upload.files[0]);
      upload.value = "";
    },
  });
  const pageNote = h("p", { class: "vfs-status needs-kernel", role: "status" });
  const pageMaker = h(
    "button",
    { type: "button", class: "needs-kernel", onclick: () => host.ask({ type: "page" }) },
    "Save as a page that runs the model",
  );
  const saver = h("button", { type: "button", onclick: () => save(poster(), "attention.png") }, "Save as PNG");
  const off = tick("a click switches the head off", (on) => {
    switching = on;
    el.classList.toggle("switching", on);
  });
  const restore = h("button", { type: "button", onclick: () => host.put({ ablated: [] }) }, "Switch all heads on");
  const wallTitle = h("h4", {}, ""),
    wall = h("canvas", { class: "vfs-wall-canvas", "aria-hidden": "true" }),
    grid = h("div", { class: "vfs-wall-grid", role: "group", "aria-label": "Every head of every block" });
  // Blocks run to the right, heads down; rollout and lens have no heads, so their wall is one row.
  const wallRows = h("div", { class: "vfs-wall-rows", "aria-hidden": "true" }),
    wallBlocks = h(
      "div",
      { class: "vfs-wall-heads", "aria-hidden": "true" },
      ...Array.from({ length: blocks }, (_, i) => h("span", {}, i)),
    );
  const wallBox = h(
      "div",
      { class: "vfs-wall", style: `--across:${blocks}` },
      wallRows,
      h("div", { class: "vfs-wall-inner" }, wall, grid),
      h("span", { class: "vfs-wall-corner", "aria-hidden": "true" }, "block"),
      wallBlocks,
    ),
    wallScroll = h("div", { class: "vfs-scroll" }, wallBox);
  let tiles = [];
  function buildWall(down) {
    if (tiles.length === down * blocks) return;
    wallBox.style.setProperty("--down", down);
    wall.width = blocks * (cols + 1) - 1;
    wall.height = down * (rows + 1) - 1;
    wallRows.replaceChildren(
      ...Array.from({ length: down }, (_, i) =>
        h("span", {}, down === 1 && heads > 1 ? "" : `${i ? "" : "head "}${i}`),
      ),
    );
    tiles = Array.from({ length: blocks * down }, (_, i) =>
      h("button", { type: "button", tabindex: i ? -1 : 0, "data-tile": i, onclick: () => tile(i) }),
    );
    grid.replaceChildren(...tiles);
  }
  const wallTools = h(
    "div",
    { class: "vfs-buttons" },
    shared.node,
    h("span", { class: "needs-kernel" }, off.node),
    restore,
  );
  el.append(
    thumbs,
    h(
      "div",
      { class: "vfs-columns vfs-look" },
      h("div", { class: "vfs-left" }, main, legendRow, tokens, readout),
      h(
        "div",
        { class: "vfs-right" },
        method.node,
        classPick.node,
        block.node,
        head.node,
        heads > 1 ? fusion : null,
        direction.node,
        opacity.node,
        keep.node,
        cmap.node,
        barsTitle,
        bars,
        lens,
        h(
          "div",
          { class: "vfs-buttons" },
          saver,
          h("label", { class: "vfs-file needs-kernel" }, "Use your own picture", upload),
          pageMaker,
        ),
        pageNote,
      ),
    ),
    wallTitle,
    wallTools,
    wallScroll,
    sr.node,
  );

  function tile(i) {
    const pair = [i % blocks, Math.floor(i / blocks)];
    if (get("method") !== "attention") {
      host.put({ block: pair[0] });
      return;
    }
    if (!switching || !host.live) {
      host.put({ block: pair[0], head: pair[1], method: "attention" });
      return;
    }
    const now = get("ablated"),
      there = now.some(([b, k]) => b === pair[0] && k === pair[1]);
    host.put({ ablated: there ? now.filter(([b, k]) => b !== pair[0] || k !== pair[1]) : [...now, pair] });
  }
  grid.addEventListener("keydown", (e) => {
    const at = tiles.indexOf(e.target),
      move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -blocks, ArrowDown: blocks }[e.key];
    if (move === undefined || !tiles[at + move]) return;
    e.preventDefault();
    e.stopPropagation();
    tiles[at].tabIndex = -1;
    tiles[at + move].tabIndex = 0;
    tiles[at + move].focus();
  });
  const under = (e) => {
    const box = main.getBoundingClientRect(),
      c = Math.floor(((e.clientX - box.left) / box.width) * cols),
      r = Math.floor(((e.clientY - box.top) / box.height) * rows);
    return r >= 0 && r < rows && c >= 0 && c < cols ? P + r * cols + c : null;
  };
  main.addEventListener("pointermove", (e) => {
    const t = under(e);
    if (t !== hover) {
      hover = t;
      redraw();
    }
  });
  main.addEventListener("pointerleave", () => {
    hover = null;
    redraw();
  });
  main.addEventListener("click", (e) => {
    const t = under(e);
    if (t !== null) host.put({ token: t });
  });
  main.addEventListener("keydown", (e) => {
    const t = get("token"),
      p = Math.max(0, t - P),
      r = Math.floor(p / cols),
      c = p % cols;
    const go = { ArrowLeft: [r, c - 1], ArrowRight: [r, c + 1], ArrowUp: [r - 1, c], ArrowDown: [r + 1, c] }[e.key];
    if (go) {
      hover = null;
      host.put({
        token: t < P ? P : P + Math.min(rows - 1, Math.max(0, go[0])) * cols + Math.min(cols - 1, Math.max(0, go[1])),
      });
    } else if (e.key === "Home") {
      hover = null;
      host.put({ token: reader });
    } else if (e.key === "End") {
      hover = null;
      host.put({ token: T - 1 });
    } else if (e.key === "Enter" || e.key === " ") {
      hover = null;
      const map = values(t);
      if (map) host.put({ token: hottest(map) });
    } else if (e.key === "PageUp" || e.key === "PageDown")
      host.put({
        block: Math.min(
          blocks - 1,
          Math.max(get("method") === "lens" ? -1 : 0, get("block") + (e.key === "PageUp" ? 1 : -1)),
        ),
      });
    else return;
    e.preventDefault();
    e.stopPropagation(); // JupyterLab moves between cells with the same keys
  });
  async function send(file) {
    // crop the middle to the model's shape and hand the pixels to Python
    const source = await createImageBitmap(file).catch(() => null);
    if (!source) {
      readout.textContent = `${file.name} cannot be opened as a picture by this browser; try a PNG or JPEG file.`;
      sr.say(readout.textContent);
      return;
    }
    const c = h("canvas"),
      scale = Math.max(width / source.width, height / source.height);
    c.width = width;
    c.height = height;
    const ctx = c.getContext("2d"),
      w = source.width * scale,
      t = source.height * scale;
    ctx.fillStyle = "#fff";
    ctx.fillRect(0, 0, width, height); // what is transparent becomes paper, not black
    ctx.imageSmoothingQuality = "high";
    ctx.drawImage(source, (width - w) / 2, (height - t) / 2, w, t);
    const data = ctx.getImageData(0, 0, width, height).data,
      rgb = new Uint8Array(3 * width * height);
    for (let i = 0; i < width * height; i++) for (let k = 0; k < 3; k++) rgb[3 * i + k] = data[4 * i + k];
    host.ask({ type: "upload", name: file.name }, [rgb.buffer]);
  }

  // drawing
  const heat = document.createElement("canvas");
  heat.width = cols;
  heat.height = rows;
  const visible = (share) => Math.sqrt(Math.min(1, Math.max(0, share))); // opacity follows the value
  function paint(data, stride, x0, y0, map, top, table, threshold, faint) {
    // faint: what is little lets the picture through
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < cols; c++) {
        const v = map[P + r * cols + c],
          k = 3 * Math.min(255, Math.max(0, Math.round((255 * v) / (top || 1)))),
          at = 4 * ((y0 + r) * stride + x0 + c);
        data[at] = table[k];
        data[at + 1] = table[k + 1];
        data[at + 2] = table[k + 2];
        data[at + 3] = v < threshold ? 0 : faint ? 255 * visible(v / (top || 1)) : 255;
      }
  }
  const hottest = (map) => {
    let best = P;
    for (let j = P; j < T; j++) if (map[j] > map[best]) best = j;
    return best;
  };
  // even attention, 1/T, stays in the lowest quarter
  const top4 = (top, how) => (how === "attention" || how === "rollout" ? Math.max(top, 4 / T) : top);
  function highest(map) {
    let top = 0;
    for (let j = P; j < T; j++) if (map[j] > top) top = map[j];
    return top;
  }
  let shown = {};
  function drawMain(map, top) {
    const ctx = main.getContext("2d"),
      W = main.width,
      H = main.height,
      table = colours(get("colormap")),
      t = token();
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(map && get("opacity") > 0 ? frame.grey : frame.picture, 0, 0, W, H);
    if (map) {
      const patches = map.slice(P).sort(),
        share = get("keep"),
        threshold = share >= 1 ? -1 : patches[Math.max(0, N - Math.max(1, Math.round(share * N)))];
      const hc = heat.getContext("2d"),
        data = hc.createImageData(cols, rows);
      paint(data.data, cols, 0, 0, map, top, table, threshold, true);
      hc.putImageData(data, 0, 0);
      ctx.globalAlpha = get("opacity");
      ctx.drawImage(heat, 0, 0, W, H);
      ctx.globalAlpha = 1;
    }
    ctx.strokeStyle = "rgba(255,255,255,.28)";
    ctx.lineWidth = Math.max(1, W / (main.clientWidth || W));
    ctx.beginPath();
    for (let c = 1; c < cols; c++) {
      const x = Math.round(c * patchW * zoom) + 0.5;
      ctx.moveTo(x, 0);
      ctx.lineTo(x, H);
    }
    for (let r = 1; r < rows; r++) {
      const y = Math.round(r * patchH * zoom) + 0.5;
      ctx.moveTo(0, y);
      ctx.lineTo(W, y);
    }
    ctx.stroke();
    if (t >= P) {
      const x = ((t - P) % cols) * patchW * zoom,
        y = Math.floor((t - P) / cols) * patchH * zoom;
      for (const [w, s] of [
        [6, "#000"],
        [3, "#fff"],
      ]) {
        ctx.lineWidth = w;
        ctx.strokeStyle = s;
        ctx.strokeRect(x + 1.5, y + 1.5, patchW * zoom - 3, patchH * zoom - 3);
      }
    }
  }
  function wallMaps(t, how) {
    // one map per tile, row by row
    const incoming = get("incoming") && t !== ANSWER,
      maps = [],
      each = Array.from({ length: blocks }, (_, b) => b);
    if (how === "attention")
      for (let k = 0; k < heads; k++) for (const b of each) maps.push(headRow(b, k, t, incoming));
    else if (how === "rollout")
      for (const b of each) maps.push(looks(frame.rollout, frame.rolloutScale, b * T, t, incoming));
    else for (const b of each) maps.push(Float32Array.from({ length: T }, (_, j) => lensOf(b + 1, j, target())));
    return maps;
  }
  function drawWall(t, how) {
    const maps = wallMaps(t, how),
      tops = maps.map((map) => (how === "lens" ? 1 : top4(highest(map), how))),
      top = Math.max(...tops);
    const table = colours(get("colormap")),
      ctx = wall.getContext("2d"),
      data = ctx.createImageData(wall.width, wall.height);
    maps.forEach((map, i) =>
      paint(
        data.data,
        wall.width,
        (i % blocks) * (cols + 1),
        Math.floor(i / blocks) * (rows + 1),
        map,
        get("shared_scale") ? top : tops[i],
        table,
        -1,
      ),
    );
    ctx.putImageData(data, 0, 0);
    return top;
  }
  function drawLegend(how, top) {
    const key = `${get("colormap")}/${get("opacity")}`,
      level = 1 / (T * top),
      counts = how === "attention" || how === "rollout";
    if (shown.legend !== key) {
      const ctx = legend.getContext("2d"),
        d = ctx.createImageData(256, 1),
        c = colours(get("colormap"));
      for (let i = 0; i < 256; i++)
        for (let k = 0; k < 4; k++) {
          const a = get("opacity") * visible(i / 255);
          d.data[4 * i + k] = k === 3 ? 255 : a * c[3 * i + k] + (1 - a) * 128;
        } // as over a grey picture
      ctx.putImageData(d, 0, 0);
      shown.legend = key;
    }
    even.hidden = !counts;
    even.style.left = `${100 * level}%`;
    even.title = `1/T = ${percent(1 / T)}: attention spread evenly over all ${T} tokens`;
    const text = how === "relevance" ? top.toPrecision(2) : percent(top);
    if (legendMax.textContent !== text) legendMax.textContent = text;
  }
  function draw() {
    if (!frame) return;
    const t = token(),
      how = get("method"),
      map = values(t),
      walled = !wallScroll.hidden;
    const wallTop = walled ? drawWall(t, how) : 1,
      top =
        how === "lens" ? 1 : how === "attention" && get("shared_scale") ? wallTop : map ? top4(highest(map), how) : 1;
    drawMain(map, top);
    drawLegend(how, top);
    for (const [id, b] of tokenButtons) {
      const on = String(id === t);
      if (b.getAttribute("aria-pressed") !== on) b.setAttribute("aria-pressed", on);
    }
    const text = describe(t, how, map);
    if (readout.textContent !== text) {
      readout.textContent = text;
      sr.say(text);
    }
    const looking = t === ANSWER || !get("incoming") ? `Where ${place(t)} looks` : `Who looks at ${place(t)}`;
    const title =
      how === "rollout"
        ? `${looking}, by rollout up to each block`
        : how === "lens"
          ? `Probability of ${name(target())} in every patch, after each block`
          : `${looking}, in every head`;
    if (wallTitle.textContent !== title) wallTitle.textContent = title;
    if (how === "lens") drawLens(t);
  }
  const redraw = scheduler(draw);
  function describe(t, how, map) {
    if (!map) return host.live ? "computing…" : "not in this page: choose another class";
    const best = hottest(map),
      b = get("block"),
      where = `block ${Math.max(0, b)}`,
      fused = get("head"),
      incoming = get("incoming") && t !== ANSWER;
    if (how === "lens") {
      const at = lensRow(b + 1, t),
        when = b < 0 ? "Before block 0" : `After ${where}`;
      return (
        `${when} the head reads ${name(frame.lens.best[at])} (${percent(frame.lens.bestProb[at])}) ` +
        `in ${place(t)}. Colour: probability of ${name(target())}.`
      );
    }
    const error = how === "relevance" ? 0 : errorOf(how, t, incoming),
      rest = prefix.map((p, i) => `${p} ${roughly(map[i], error)}`).join(", ");
    const verb = incoming ? `is looked at most by` : how === "relevance" ? `leaned most on` : "looks most at";
    const amount = how === "relevance" ? map[best].toPrecision(2) : roughly(map[best], error);
    const subject = place(t).replace(/^./, (c) => c.toUpperCase());
    const scope =
      how === "attention"
        ? `${where}, ${typeof fused === "number" ? `head ${fused}` : `${fused} of heads`}`
        : how === "rollout"
          ? `rollout up to ${where}`
          : `relevance for ${name(target())}`;
    return `${subject} ${verb} ${place(best)}: ${amount}${P && how !== "relevance" ? ` (${rest})` : ""} · ${scope}`;
  }
  function drawLens(t) {
    const rowsOf = [];
    for (let d = 0; d <= blocks; d++) {
      const at = lensRow(d, t),
        p = frame.lens.bestProb[at];
      rowsOf.push(
        h(
          "button",
          {
            type: "button",
            class: "vfs-bar",
            title: name(frame.lens.best[at]),
            "aria-pressed": String(d === get("block") + 1),
            onclick: () => host.put({ block: d - 1 }),
          },
          h("span", {}, d ? `after block ${d - 1}` : "before block 0"),
          h("i", { style: `--p:${p}` }),
          h("b", {}, `${percent(p)} ${name(frame.lens.best[at])}`),
        ),
      );
    }
    refill(
      lens,
      h("h4", {}, `What the head reads in ${place(t)}, block by block`),
      h("div", { class: "vfs-bars" }, ...rowsOf),
    );
  }
  function drawBars() {
    const before = new Map(frame.baseline || []),
      cut = (frame.ablated || []).length;
    barsTitle.textContent = cut
      ? `Prediction with ${cut} head${cut > 1 ? "s" : ""} off (outline: all on)`
      : frame.label >= 0
        ? `Prediction (true class: ${name(frame.label)})`
        : "Prediction";
    refill(
      bars,
      ...frame.probabilities.map(([c, p]) => {
        const can = host.live || frame.relevance[c],
          was = before.get(c);
        return h(
          can ? "button" : "div",
          {
            class: "vfs-bar",
            type: can ? "button" : null,
            title: can ? `What speaks for ${name(c)}?` : null,
            onclick: can
              ? () => {
                  hover = null;
                  host.put({ method: "relevance", target: c, token: reader });
                }
              : () => {},
          },
          h("span", {}, name(c) + (c === frame.label ? " ✓" : "")),
          h("i", { style: `--p:${p}` + (cut && was !== undefined ? `;--was:${was}` : ""), class: cut ? "was" : "" }),
          h(
            "b",
            {},
            percent(p) +
              (cut && was !== undefined ? ` (${p >= was ? "+" : "−"}${(100 * Math.abs(p - was)).toFixed(1)})` : ""),
          ),
        );
      }),
    );
  }
  const done = {};
  const once = (name, key, make) => {
    if (done[name] !== key) {
      done[name] = key;
      make();
    }
  }; // only what changed
  function sync() {
    // controls follow the traits
    if (!frame) return;
    const how = get("method"),
      cut = get("ablated"),
      b = get("block"),
      k = get("head");
    method.set(how);
    direction.set(get("incoming"));
    opacity.set(get("opacity"));
    keep.set(Math.round(100 * get("keep")));
    cmap.set(get("colormap"));
    shared.set(get("shared_scale"));
    block.set(b + 1, how === "lens" ? 0 : 1, blocks);
    head.set(k === "mean" ? heads : k === "max" ? heads + 1 : k);
    [...fusion.children].forEach((node, i) => node.setAttribute("aria-pressed", String(k === ["mean", "max"][i])));
    block.node.hidden = how === "relevance";
    head.node.hidden = fusion.hidden = how !== "attention" || heads === 1;
    direction.node.hidden = how === "lens" || get("token") === ANSWER;
    lens.hidden = how !== "lens";
    classPick.node.hidden = how !== "relevance" && how !== "lens";
    legendRow.title =
      how === "relevance" ? "relevance (no unit)" : how === "lens" ? "probability" : "share of the token's attention";
    const asks =
      how === "lens"
        ? frame.lens.classes
        : host.live
          ? classes.map((_, i) => i)
          : Object.keys(frame.relevance).map(Number);
    const offered = asks.length <= 1000 ? [...asks].sort((x, y) => x - y) : frame.probabilities.map(([c]) => c);
    once("classes", `${frame.serial}/${how === "lens"}/${offered.length}`, () =>
      classPick.fill([[-1, `predicted: ${name(frame.probabilities[0][0])}`], ...offered.map((c) => [c, name(c)])]),
    );
    classPick.set(offered.includes(get("target")) ? get("target") : -1);
    if (how === "relevance" && !frame.relevance[target()] && (local || host.live)) {
      const key = `${frame.index}/${target()}/${JSON.stringify(cut)}`;
      if (!asked.has(key)) {
        asked.add(key);
        askRelevance(frame, target());
      }
    }
    wallTitle.hidden = wallTools.hidden = wallScroll.hidden = how === "relevance";
    off.node.hidden = how !== "attention";
    shared.node.hidden = how === "lens";
    buildWall(how === "attention" ? heads : 1);
    once("tiles", `${how}/${b}/${k}/${JSON.stringify(cut)}`, () =>
      tiles.forEach((node, i) => {
        const bb = i % blocks,
          kk = Math.floor(i / blocks),
          heady = how === "attention",
          gone = heady && cut.some(([x, y]) => x === bb && y === kk),
          text = heady ? `block ${bb}, head ${kk}` : `block ${bb}`;
        node.classList.toggle("off", gone);
        node.setAttribute("aria-pressed", String(bb === b && (!heady || kk === k)));
        node.setAttribute("aria-label", `${text}${gone ? ", switched off" : ""}`);
        node.title = `${text}${gone ? " (off)" : ""}`;
      }),
    );
    restore.hidden = !cut.length || !(host.live || frames.has(get("image_index")));
    [...thumbs.children].forEach((node) =>
      node.setAttribute("aria-pressed", String(+node.dataset.index === get("image_index"))),
    );
    once("bars", `${frame.serial}/${cut.length}/${host.live}/${Object.keys(frame.relevance)}`, drawBars);
    redraw();
  }
  async function askRelevance(of, about) {
    if (!of.exact) return host.ask({ type: "relevance", index: of.index, target: about });
    of.relevance[about] = await local.relevance(of.index, of.ablated, about);
    asked.clear();
    if (of === frame) sync();
  }
  async function compute(index, cut) {
    const found = await local.frame(index, cut);
    if (index !== get("image_index") || JSON.stringify(cut) !== JSON.stringify(get("ablated"))) return;
    frame = drawn(found);
    sync();
  }
  function show() {
    // the chosen image, from what came with the widget, from the model in the page or from Python
    const index = get("image_index"),
      cut = get("ablated"),
      late = get("frame"),
      kept = !cut.length && frameOf(index);
    if (local?.has(index)) return void compute(index, cut);
    if (local) return void host.ask({ type: "picture", index }); // one that Python added
    if (kept) frame = kept;
    else if (late?.attention && late.index === index && JSON.stringify(late.ablated) === JSON.stringify(cut))
      frame = unpack(late);
    frame ??= frameOf(get("frames")[0]?.index);
    sync();
  }
  function drawThumbs() {
    const all = bytes(get("thumbs")),
      [th, tw] = info.thumb,
      count = all.length / (3 * th * tw),
      size = 3 * th * tw,
      names = get("names");
    thumbs.replaceChildren();
    for (let i = 0; i < count; i++) {
      if (!host.live && !frames.has(i)) continue; // without Python only the images that came along
      thumbs.append(
        h(
          "button",
          {
            type: "button",
            "data-index": i,
            "aria-label": `image ${i + 1}${names[i] ? `, ${names[i]}` : ""}`,
            title: names[i] || `image ${i + 1}`,
            onclick: () => {
              hover = null;
              host.put({ image_index: i });
            },
          },
          picture(all.subarray(i * size, (i + 1) * size), tw, th),
        ),
      );
    }
    thumbs.hidden = thumbs.children.length < 2;
  }
  function poster() {
    // picture, colour bar and caption, for saving
    const c = document.createElement("canvas"),
      ctx = c.getContext("2d"),
      W = Math.max(main.width, 480),
      lines = [];
    ctx.font = "14px sans-serif";
    for (const word of readout.textContent.split(" ")) {
      const last = lines.length - 1;
      if (last >= 0 && ctx.measureText(`${lines[last]} ${word}`).width < W - 20) lines[last] += ` ${word}`;
      else lines.push(word);
    }
    c.width = W;
    c.height = main.height + 46 + 20 * lines.length;
    ctx.fillStyle = "#fff";
    ctx.fillRect(0, 0, c.width, c.height);
    ctx.drawImage(main, (W - main.width) / 2, 0);
    ctx.drawImage(legend, 10, main.height + 8, W - 90, 10);
    ctx.fillStyle = "#111";
    ctx.font = "14px sans-serif";
    ctx.fillText(legendMax.textContent, W - 74, main.height + 18);
    lines.forEach((line, i) => ctx.fillText(line, 10, main.height + 44 + 20 * i));
    return c;
  }
  for (const key of [
    "block",
    "head",
    "token",
    "method",
    "target",
    "incoming",
    "opacity",
    "keep",
    "colormap",
    "shared_scale",
  ])
    host.on(`change:${key}`, sync);
  // until Python's frame fits, the old one stays
  for (const key of ["image_index", "ablated", "frame"]) host.on(`change:${key}`, show);
  host.on("change:thumbs", () => {
    drawThumbs();
    sync();
  });
  host.on("msg:custom", (m, buffers) => {
    if (m.type === "picture" && local) {
      local.add(m.index, bytes(buffers[0]));
      show();
    }
    if (m.type === "page") pageNote.textContent = m.text;
    if (m.type === "relevance" && frame && m.index === frame.index) {
      frame.relevance[m.target] = { q: bytes(buffers[0]), scale: floats(buffers[1]) };
      asked.clear();
      sync();
    }
  });
  host.found = async () => {
    drawThumbs();
    sync();
    if (fetching || !info.runs_in_page) return;
    fetching = true;
    local = localFrames(await fetchModel(host));
    show();
  };
  host.lost = () => {
    switching = false;
    off.set(false);
    el.classList.remove("switching");
    drawThumbs();
    show();
  };
  drawThumbs();
  show();
}
KINDS.attention = attention;
