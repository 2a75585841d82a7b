// Browser side of vit_from_scratch.explore. Plain ES module: no build step, nothing loaded from elsewhere.
// Parts begin with a line of dashes and a name; Python sends each widget the tools, its own part and the hosts.
// The same code runs in three hosts: as an anywidget in JupyterLab, inside a page of the docs, and in a file
// opened from disk. The last two have no kernel: `StaticModel` stands in for the widget's model, and everything
// that needs Python stays hidden (class "needs-kernel") until Python answers a ping.

// ---------------------------------------- tools
const STOPS = {
  viridis: "44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725",
  magma: "0000040a08221d114736106b51127c6a1c818326819c2e7fb73779d0416fe75263f56b5cfc8961fea772fec488fde2a3fcfdbf",
  cividis: "00224e002e6a1a386f32436d434e6c535a6d61656f6f70737d7c788c88789b9476aba072bcae6ccdbb63dec958f0d846fee838",
  grey: "0000001313132525253c3c3c525252636363737373858585979797aaaaaabebebeccccccdadadae5e5e5f0f0f0f8f8f8ffffff",
  redblue: "0530611752902a71b23f8ec06bacd19bc9e0c2ddece0ecf3f7f6f6fbe5d8fbccb4f5aa89e48066d05548ba2832930e2667001f",
};
const LINES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b07c00", "#5d8fd6", "#8a6bc9", "#7a7a7a"];
const KINDS = {}, tables = {};

function colours(name) {                       // 256 colours, three bytes each
  if (tables[name]) return tables[name];
  const stops = STOPS[name].match(/../g).map((x) => parseInt(x, 16)), last = stops.length / 3 - 1;
  const table = new Uint8Array(768);
  for (let i = 0; i < 256; i++) {
    const x = (i / 255) * last, k = Math.min(Math.floor(x), last - 1), f = x - k;
    for (let c = 0; c < 3; c++) table[3 * i + c] = Math.round(stops[3 * k + c] * (1 - f) + stops[3 * k + 3 + c] * f);
  }
  return (tables[name] = table);
}

function h(tag, props = {}, ...children) {     // make an element
  const node = document.createElement(tag);
  if (/^(button|input|select|canvas)$/.test(tag)) node.setAttribute("data-lm-suppress-shortcuts", "true");   // else JupyterLab takes the arrow keys
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "class") node.className = value;
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.filter((c) => c != null));
  return node;
}

function bytes(value) {                        // binary traits arrive as DataView; saved pages hold base64
  if (!value) return new Uint8Array(0);
  if (value.$b64 !== undefined) return Uint8Array.from(atob(value.$b64), (c) => c.charCodeAt(0));
  if (value.buffer) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  return new Uint8Array(value);
}
const floats = (value) => new Float32Array(bytes(value).slice().buffer);
const words = (value) => new Uint16Array(bytes(value).slice().buffer);
// A share read from bytes is known to half a step: print no digit that the step would change.
function roughly(x, error) {
  if (x < error && error >= 0.00005) return `under ${percent(error)}`;
  const digits = Math.max(0, Math.min(2, Math.floor(-Math.log10(100 * Math.max(error, 1e-9)))));
  return `${(100 * x).toFixed(digits)} %`;
}
const percent = (x) => (x >= 0.9995 ? "100 %" : `${(100 * x).toFixed(x < 0.0995 ? 2 : 1)} %`);
const short = (x) => { for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) if (Math.abs(x) >= 0.9995 * size) return `${(x / size).toPrecision(3)} ${unit}`; return `${+x.toPrecision(3)} `; };
let serial = 0;

function picture(rgb, width, height, canvas = document.createElement("canvas")) {  // RGB bytes to a canvas
  canvas.width = width; canvas.height = height;
  const ctx = canvas.getContext("2d"), data = ctx.createImageData(width, height);
  for (let i = 0, n = width * height; i < n; i++) {
    data.data[4 * i] = rgb[3 * i]; data.data[4 * i + 1] = rgb[3 * i + 1]; data.data[4 * i + 2] = rgb[3 * i + 2]; data.data[4 * i + 3] = 255;
  }
  ctx.putImageData(data, 0, 0);
  return canvas;
}

function slider(label, min, max, step, show, input) {   // a labelled range with its value in words
  const range = h("input", { type: "range", min, max, step }), out = h("output", { "aria-live": "off" });   // the slider itself is read out
  const node = h("label", { class: "vfs-slider" }, h("span", {}, label), range, out);
  const words = () => { const text = show(+range.value); if (out.textContent !== text) { out.textContent = text; range.setAttribute("aria-valuetext", text); } };
  range.addEventListener("input", () => { words(); input(+range.value); });
  return { node, range, set(value, low = min, high = max) { range.min = low; range.max = high; range.value = value; words(); } };
}

function choice(label, options, input) {       // a labelled select; options: [[value, text], …]
  const select = h("select", { onchange: () => input(select.value) });
  const fill = (pairs) => { const now = select.value; select.replaceChildren(...pairs.map(([v, t]) => h("option", { value: v }, t))); if (pairs.some(([v]) => String(v) === now)) select.value = now; };
  fill(options);
  return { node: h("label", { class: "vfs-choice" }, h("span", {}, label), select), select, fill, set(value) { select.value = value; } };
}

function tick(label, input) {                  // a labelled checkbox
  const box = h("input", { type: "checkbox", onchange: () => input(box.checked) });
  return { node: h("label", { class: "vfs-tick" }, box, h("span", {}, label)), box, set(on) { box.checked = on; } };
}

function speaker() {                           // polite screen-reader line that waits until the reader rests
  const node = h("div", { class: "vfs-sr", "aria-live": "polite" });
  let timer;
  return { node, say(text) { clearTimeout(timer); timer = setTimeout(() => { if (node.textContent !== text) node.textContent = text; }, 400); } };
}

function refill(box, ...nodes) {               // new children; the keyboard focus stays at its place in the row
  const reachable = "button, input", at = [...box.querySelectorAll(reachable)].indexOf(box.getRootNode().activeElement);
  box.replaceChildren(...nodes);
  if (at >= 0) box.querySelectorAll(reachable)[at]?.focus();
}

function scheduler(draw) {                     // at most one drawing per animation frame
  let waiting = false;
  return () => { if (!waiting) { waiting = true; requestAnimationFrame(() => { waiting = false; draw(); }); } };
}

function save(canvas, name) {
  canvas.toBlob((blob) => {
    const url = URL.createObjectURL(blob), link = h("a", { href: url, download: name });
    document.body.append(link); link.click(); link.remove(); setTimeout(() => URL.revokeObjectURL(url), 1000);
  });
}

class StaticModel {                            // stands in for the widget's model where there is no kernel
  constructor(state) { this.state = state; this.listeners = {}; }
  get(key) { return this.state[key]; }
  set(key, value) { if (this.state[key] !== value) { this.state[key] = value; (this.listeners[`change:${key}`] || []).forEach((f) => f()); } }
  on(name, f) { (this.listeners[name] ||= []).push(f); }
  off() {}
  save_changes() {}
  send() {}
}

function connection(model, el) {               // listeners that end with the view, and the question whether Python is there
  const kept = [];
  const host = {
    live: false,
    on(name, f) { model.on(name, f); kept.push([name, f]); },
    put(changes) { for (const [k, v] of Object.entries(changes)) model.set(k, v); model.save_changes(); },
    ask(message, buffers) { try { model.send(message, undefined, buffers); } catch { /* no kernel */ } },
    close() { kept.forEach(([name, f]) => model.off(name, f)); },
    found: () => {},
    lost: () => {},
  };
  const ping = () => { const was = host.live; host.live = false; el.classList.remove("live"); if (was) host.lost(); host.ask({ type: "ping" }); };
  host.on("msg:custom", (message) => {
    if (message.type === "pong" && !host.live) { host.live = true; el.classList.add("live"); host.found(); }
  });
  host.on("comm_live_update", ping);
  host.ping = ping;
  return host;
}

// ---------------------------------------- attention
function attention(model, el, host) {
  const info = model.get("info"), { rows, cols, height, width, blocks, heads, prefix, classes } = info;
  const P = prefix.length, N = rows * cols, T = P + N, average = info.pool === "avg", ANSWER = -1, reader = average ? ANSWER : 0;
  const patchW = width / cols, patchH = height / rows, zoom = Math.max(1, Math.round(448 / width));
  const get = (key) => model.get(key), name = (c) => classes[c] ?? `class ${c}`;
  const frames = new Map();
  let frame = null, hover = null, switching = false, asked = new Set();

  function unpack(f) {
    const out = { ...f, serial: ++serial, picture: picture(bytes(f.image), width, height), grey: picture(greyed(bytes(f.image)), width, height), attention: bytes(f.attention), scale: floats(f.attention_scale),
      rollout: bytes(f.rollout), rolloutScale: floats(f.rollout_scale), lens: { best: words(f.lens_best), bestProb: floats(f.lens_best_prob), prob: floats(f.lens_prob), classes: f.lens_classes }, relevance: {} };
    for (const [c, r] of Object.entries(f.relevance || {})) out.relevance[c] = { q: bytes(r.q), scale: floats(r.scale) };
    return out;
  }
  function greyed(rgb) {                       // a photograph under a map: the colours belong to the map
    const out = new Uint8Array(rgb.length);
    for (let i = 0; i < rgb.length; i += 3) out.fill(0.299 * rgb[i] + 0.587 * rgb[i + 1] + 0.114 * rgb[i + 2], i, i + 3);
    return out;
  }
  for (const f of get("frames")) frames.set(f.index, f);
  function frameOf(index) {                    // unpack a frame that came with the widget when it is first shown
    const f = frames.get(index);
    if (f && !f.picture) frames.set(index, unpack(f));
    return frames.get(index);
  }

  // numbers: where token t looks, as T values. `read` walks a (…, T, T) byte table with one scale per row.
  function read(q, scale, base, token, incoming, out) {
    if (incoming) for (let i = 0; i < T; i++) out[i] = q[(base + i) * T + token] * scale[base + i] / 255;
    else for (let j = 0, s = scale[base + token] / 255, at = (base + token) * T; j < T; j++) out[j] = q[at + j] * s;
    return out;
  }
  const scratch = new Float32Array(T);
  function looks(q, scale, base, token, incoming) {
    if (token !== ANSWER) return read(q, scale, base, token, incoming, new Float32Array(T));
    const sum = new Float32Array(T);           // no class token: the answer is the mean of the patches, so take their mean row
    for (let t = P; t < T; t++) { read(q, scale, base, t, false, scratch); for (let j = 0; j < T; j++) sum[j] += scratch[j] / N; }
    return sum;
  }
  function answerRows(block, head) {           // means over all patches are slow to make: keep them
    const cache = (frame.answers ||= []), at = block * heads + head;
    return (cache[at] ||= looks(frame.attention, frame.scale, at * T, ANSWER, false));
  }
  function headRow(block, head, token, incoming) {
    return token === ANSWER ? answerRows(block, head) : looks(frame.attention, frame.scale, (block * heads + head) * T, token, incoming);
  }
  function values(token) {                     // the map that is on show
    const block = Math.max(0, get("block")), head = get("head"), incoming = get("incoming") && token !== ANSWER, method = get("method");
    if (method === "rollout") return looks(frame.rollout, frame.rolloutScale, block * T, token, incoming);
    if (method === "relevance") { const r = frame.relevance[target()]; return r ? looks(r.q, r.scale, 0, token, incoming) : null; }
    if (method === "lens") { const out = new Float32Array(T); for (let t = 0; t < T; t++) out[t] = lensOf(get("block") + 1, t, target()); return out; }
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
  const lensOf = (depth, token, c) => frame.lens.prob[lensRow(depth, token) * frame.lens.classes.length + frame.lens.classes.indexOf(c)];
  // Half a step of the bytes that a row of numbers was read from.
  function errorOf(how, token, incoming) {
    const [scale, base, count] = how === "rollout" ? [frame.rolloutScale, Math.max(0, get("block")) * T, 1]
      : typeof get("head") === "number" ? [frame.scale, (Math.max(0, get("block")) * heads + get("head")) * T, 1]
      : [frame.scale, Math.max(0, get("block")) * heads * T, heads];
    let most = 0;
    for (let k = 0; k < count; k++) {
      if (token === ANSWER || incoming) for (let i = 0; i < T; i++) most = Math.max(most, scale[base + k * T + i]);
      else most = Math.max(most, scale[base + k * T + token]);
    }
    return most / 510;
  }
  const target = () => (get("target") >= 0 && (get("method") !== "lens" || known(get("target"))) ? get("target") : frame.probabilities[0][0]);
  const token = () => hover ?? get("token");
  const place = (t) => (t === ANSWER ? "the mean of all patches" : t < P ? prefix[t] : `patch ${t - P} (row ${Math.floor((t - P) / cols)}, column ${(t - P) % cols})`);

  // the page
  const thumbs = h("div", { class: "vfs-thumbs", role: "group", "aria-label": "Images" });
  const main = h("canvas", { class: "vfs-main", tabindex: 0, role: "application", "aria-label": "Image with patch grid. Arrow keys move the patch, Enter goes to the patch that it looks at most, Home selects the token that answers, End the last patch, Page Up and Page Down change the block." });
  main.width = width * zoom; main.height = height * zoom;
  const legend = h("canvas", { class: "vfs-legend", width: 256, height: 1, "aria-hidden": "true" }), legendMax = h("span"), even = h("span", { class: "vfs-level" }, "even"), legendRow = h("div", { class: "vfs-legend-row" }, h("span", {}, "0"), h("span", { class: "vfs-legend-box" }, legend, even), legendMax);
  const readout = h("div", { class: "vfs-readout" }), sr = speaker();
  const tokens = h("div", { class: "vfs-buttons", role: "group", "aria-label": "Tokens that are not patches" });
  const tokenButtons = (average ? [[ANSWER, "mean of all patches"]] : []).concat(prefix.map((text, t) => [t, text])).map(([t, text]) => {
    const b = h("button", { type: "button", onclick: () => { hover = null; host.put({ token: t }); }, onpointerenter: () => { hover = t; redraw(); }, onpointerleave: () => { hover = null; redraw(); } }, text);
    tokens.append(b); return [t, b];
  });
  const method = choice("Show", [["attention", "attention (one block)"], ["rollout", "rollout (all blocks so far)"], ["relevance", "relevance for a class"], ["lens", "logit lens"]], (v) => host.put({ method: v, block: Math.max(v === "lens" ? -1 : 0, get("block")) }));
  const block = slider("Block", 1, blocks, 1, (v) => (v ? `${v - 1} of 0–${blocks - 1}` : "before block 0"), (v) => host.put({ block: v - 1 }));
  const headName = (k) => (k === heads ? "mean" : k === heads + 1 ? "max" : heads > 1 ? `${k} of 0–${heads - 1}` : "0");
  const head = slider("Head", 0, heads + (heads > 1), 1, headName, (k) => host.put({ head: k === heads ? "mean" : k === heads + 1 ? "max" : k }));
  const fusion = h("div", { class: "vfs-buttons", role: "group", "aria-label": "All heads together" }, ...["mean", "max"].map((v) => h("button", { type: "button", onclick: () => host.put({ head: v }) }, `${v} of heads`)));
  const classPick = choice("Class", [], (v) => host.put({ target: +v }));
  const direction = tick("who looks at it, instead of where it looks", (on) => host.put({ incoming: on }));
  const opacity = slider("Opacity", 0, 1, 0.05, (v) => `${Math.round(100 * v)} %`, (v) => host.put({ opacity: v }));
  const keep = slider("Keep the top", 1, 100, 1, (v) => (v === 100 ? "all" : `${v} %`), (v) => host.put({ keep: v / 100 }));
  const cmap = choice("Colours", ["viridis", "magma", "cividis", "grey"].map((c) => [c, c]), (v) => host.put({ colormap: v }));
  const shared = tick("one colour scale for the whole wall", (on) => host.put({ shared_scale: on }));
  const bars = h("div", { class: "vfs-bars" }), barsTitle = h("h4", {}, "Prediction");
  const lens = h("div", { class: "vfs-lens" });
  const upload = h("input", { type: "file", accept: "image/*", onchange: () => { if (upload.files[0]) send(upload.files[0]); upload.value = ""; } });
  const saver = h("button", { type: "button", onclick: () => save(poster(), "attention.png") }, "Save as PNG");
  const off = tick("a click switches the head off", (on) => { switching = on; el.classList.toggle("switching", on); });
  const restore = h("button", { type: "button", onclick: () => host.put({ ablated: [] }) }, "Switch all heads on");
  const wallTitle = h("h4", {}, ""), wall = h("canvas", { class: "vfs-wall-canvas", "aria-hidden": "true" }), grid = h("div", { class: "vfs-wall-grid", role: "group", "aria-label": "Every head of every block" });
  // Blocks run to the right, heads down; rollout and lens have no heads, so their wall is one row.
  const wallRows = h("div", { class: "vfs-wall-rows", "aria-hidden": "true" }), wallBlocks = h("div", { class: "vfs-wall-heads", "aria-hidden": "true" }, ...Array.from({ length: blocks }, (_, i) => h("span", {}, i)));
  const wallBox = h("div", { class: "vfs-wall", style: `--across:${blocks}` }, wallRows, h("div", { class: "vfs-wall-inner" }, wall, grid), h("span", { class: "vfs-wall-corner", "aria-hidden": "true" }, "block"), wallBlocks), wallScroll = h("div", { class: "vfs-scroll" }, wallBox);
  let tiles = [];
  function buildWall(down) {
    if (tiles.length === down * blocks) return;
    wallBox.style.setProperty("--down", down); wall.width = blocks * (cols + 1) - 1; wall.height = down * (rows + 1) - 1;
    wallRows.replaceChildren(...Array.from({ length: down }, (_, i) => h("span", {}, down === 1 && heads > 1 ? "" : `${i ? "" : "head "}${i}`)));
    tiles = Array.from({ length: blocks * down }, (_, i) => h("button", { type: "button", tabindex: i ? -1 : 0, "data-tile": i, onclick: () => tile(i) }));
    grid.replaceChildren(...tiles);
  }
  const wallTools = h("div", { class: "vfs-buttons" }, shared.node, h("span", { class: "needs-kernel" }, off.node), restore);
  el.append(thumbs, h("div", { class: "vfs-columns vfs-look" },
    h("div", { class: "vfs-left" }, main, legendRow, tokens, readout),
    h("div", { class: "vfs-right" }, method.node, classPick.node, block.node, head.node, heads > 1 ? fusion : null, direction.node, opacity.node, keep.node, cmap.node, barsTitle, bars, lens,
      h("div", { class: "vfs-buttons" }, saver, h("label", { class: "vfs-file needs-kernel" }, "Use your own picture", upload)))),
    wallTitle, wallTools, wallScroll, sr.node);

  function tile(i) {
    const pair = [i % blocks, Math.floor(i / blocks)];
    if (get("method") !== "attention") { host.put({ block: pair[0] }); return; }
    if (!switching || !host.live) { host.put({ block: pair[0], head: pair[1], method: "attention" }); return; }
    const now = get("ablated"), there = now.some(([b, k]) => b === pair[0] && k === pair[1]);
    host.put({ ablated: there ? now.filter(([b, k]) => b !== pair[0] || k !== pair[1]) : [...now, pair] });
  }
  grid.addEventListener("keydown", (e) => {
    const at = tiles.indexOf(e.target), move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -blocks, ArrowDown: blocks }[e.key];
    if (move === undefined || !tiles[at + move]) return;
    e.preventDefault(); e.stopPropagation(); tiles[at].tabIndex = -1; tiles[at + move].tabIndex = 0; tiles[at + move].focus();
  });
  const under = (e) => {
    const box = main.getBoundingClientRect(), c = Math.floor(((e.clientX - box.left) / box.width) * cols), r = Math.floor(((e.clientY - box.top) / box.height) * rows);
    return r >= 0 && r < rows && c >= 0 && c < cols ? P + r * cols + c : null;
  };
  main.addEventListener("pointermove", (e) => { const t = under(e); if (t !== hover) { hover = t; redraw(); } });
  main.addEventListener("pointerleave", () => { hover = null; redraw(); });
  main.addEventListener("click", (e) => { const t = under(e); if (t !== null) host.put({ token: t }); });
  main.addEventListener("keydown", (e) => {
    const t = get("token"), p = Math.max(0, t - P), r = Math.floor(p / cols), c = p % cols;
    const go = { ArrowLeft: [r, c - 1], ArrowRight: [r, c + 1], ArrowUp: [r - 1, c], ArrowDown: [r + 1, c] }[e.key];
    if (go) { hover = null; host.put({ token: t < P ? P : P + Math.min(rows - 1, Math.max(0, go[0])) * cols + Math.min(cols - 1, Math.max(0, go[1])) }); }
    else if (e.key === "Home") { hover = null; host.put({ token: reader }); }
    else if (e.key === "End") { hover = null; host.put({ token: T - 1 }); }
    else if (e.key === "Enter" || e.key === " ") { hover = null; const map = values(t); if (map) host.put({ token: hottest(map) }); }
    else if (e.key === "PageUp" || e.key === "PageDown") host.put({ block: Math.min(blocks - 1, Math.max(get("method") === "lens" ? -1 : 0, get("block") + (e.key === "PageUp" ? 1 : -1))) });
    else return;
    e.preventDefault(); e.stopPropagation();   // JupyterLab moves between cells with the same keys
  });
  async function send(file) {                  // crop the middle to the model's shape and hand the pixels to Python
    const source = await createImageBitmap(file).catch(() => null);
    if (!source) { readout.textContent = `${file.name} cannot be opened as a picture by this browser; try a PNG or JPEG file.`; sr.say(readout.textContent); return; }
    const c = h("canvas"), scale = Math.max(width / source.width, height / source.height);
    c.width = width; c.height = height;
    const ctx = c.getContext("2d"), w = source.width * scale, t = source.height * scale;
    ctx.fillStyle = "#fff"; ctx.fillRect(0, 0, width, height);   // what is transparent becomes paper, not black
    ctx.imageSmoothingQuality = "high"; ctx.drawImage(source, (width - w) / 2, (height - t) / 2, w, t);
    const data = ctx.getImageData(0, 0, width, height).data, rgb = new Uint8Array(3 * width * height);
    for (let i = 0; i < width * height; i++) for (let k = 0; k < 3; k++) rgb[3 * i + k] = data[4 * i + k];
    host.ask({ type: "upload", name: file.name }, [rgb.buffer]);
  }

  // drawing
  const heat = document.createElement("canvas"); heat.width = cols; heat.height = rows;
  const visible = (share) => Math.sqrt(Math.min(1, Math.max(0, share)));   // opacity follows the value
  function paint(data, stride, x0, y0, map, top, table, threshold, faint) {   // faint: what is little lets the picture through
    for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) {
      const v = map[P + r * cols + c], k = 3 * Math.min(255, Math.max(0, Math.round((255 * v) / (top || 1)))), at = 4 * ((y0 + r) * stride + x0 + c);
      data[at] = table[k]; data[at + 1] = table[k + 1]; data[at + 2] = table[k + 2]; data[at + 3] = v < threshold ? 0 : faint ? 255 * visible(v / (top || 1)) : 255;
    }
  }
  const hottest = (map) => { let best = P; for (let j = P; j < T; j++) if (map[j] > map[best]) best = j; return best; };
  const top4 = (top, how) => (how === "attention" || how === "rollout" ? Math.max(top, 4 / T) : top);   // even attention, 1/T, stays in the lowest quarter
  function highest(map) { let top = 0; for (let j = P; j < T; j++) if (map[j] > top) top = map[j]; return top; }
  let shown = {};
  function drawMain(map, top) {
    const ctx = main.getContext("2d"), W = main.width, H = main.height, table = colours(get("colormap")), t = token();
    ctx.imageSmoothingEnabled = false; ctx.drawImage(map && get("opacity") > 0 ? frame.grey : frame.picture, 0, 0, W, H);
    if (map) {
      const patches = map.slice(P).sort(), share = get("keep"), threshold = share >= 1 ? -1 : patches[Math.max(0, N - Math.max(1, Math.round(share * N)))];
      const hc = heat.getContext("2d"), data = hc.createImageData(cols, rows);
      paint(data.data, cols, 0, 0, map, top, table, threshold, true); hc.putImageData(data, 0, 0);
      ctx.globalAlpha = get("opacity"); ctx.drawImage(heat, 0, 0, W, H); ctx.globalAlpha = 1;
    }
    ctx.strokeStyle = "rgba(255,255,255,.28)"; ctx.lineWidth = Math.max(1, W / (main.clientWidth || W)); ctx.beginPath();
    for (let c = 1; c < cols; c++) { const x = Math.round(c * patchW * zoom) + 0.5; ctx.moveTo(x, 0); ctx.lineTo(x, H); }
    for (let r = 1; r < rows; r++) { const y = Math.round(r * patchH * zoom) + 0.5; ctx.moveTo(0, y); ctx.lineTo(W, y); }
    ctx.stroke();
    if (t >= P) {
      const x = ((t - P) % cols) * patchW * zoom, y = Math.floor((t - P) / cols) * patchH * zoom;
      for (const [w, s] of [[6, "#000"], [3, "#fff"]]) { ctx.lineWidth = w; ctx.strokeStyle = s; ctx.strokeRect(x + 1.5, y + 1.5, patchW * zoom - 3, patchH * zoom - 3); }
    }
  }
  function wallMaps(t, how) {                  // one map per tile, row by row
    const incoming = get("incoming") && t !== ANSWER, maps = [], each = Array.from({ length: blocks }, (_, b) => b);
    if (how === "attention") for (let k = 0; k < heads; k++) for (const b of each) maps.push(headRow(b, k, t, incoming));
    else if (how === "rollout") for (const b of each) maps.push(looks(frame.rollout, frame.rolloutScale, b * T, t, incoming));
    else for (const b of each) maps.push(Float32Array.from({ length: T }, (_, j) => lensOf(b + 1, j, target())));
    return maps;
  }
  function drawWall(t, how) {
    const maps = wallMaps(t, how), tops = maps.map((map) => (how === "lens" ? 1 : top4(highest(map), how))), top = Math.max(...tops);
    const table = colours(get("colormap")), ctx = wall.getContext("2d"), data = ctx.createImageData(wall.width, wall.height);
    maps.forEach((map, i) => paint(data.data, wall.width, (i % blocks) * (cols + 1), Math.floor(i / blocks) * (rows + 1), map, get("shared_scale") ? top : tops[i], table, -1));
    ctx.putImageData(data, 0, 0);
    return top;
  }
  function drawLegend(how, top) {
    const key = `${get("colormap")}/${get("opacity")}`, level = 1 / (T * top), counts = how === "attention" || how === "rollout";
    if (shown.legend !== key) {
      const ctx = legend.getContext("2d"), d = ctx.createImageData(256, 1), c = colours(get("colormap"));
      for (let i = 0; i < 256; i++) for (let k = 0; k < 4; k++) { const a = get("opacity") * visible(i / 255); d.data[4 * i + k] = k === 3 ? 255 : a * c[3 * i + k] + (1 - a) * 128; }   // as over a grey picture
      ctx.putImageData(d, 0, 0); shown.legend = key;
    }
    even.hidden = !counts; even.style.left = `${100 * level}%`; even.title = `1/T = ${percent(1 / T)}: attention spread evenly over all ${T} tokens`;
    const text = how === "relevance" ? top.toPrecision(2) : percent(top);
    if (legendMax.textContent !== text) legendMax.textContent = text;
  }
  function draw() {
    if (!frame) return;
    const t = token(), how = get("method"), map = values(t), walled = !wallScroll.hidden;
    const wallTop = walled ? drawWall(t, how) : 1, top = how === "lens" ? 1 : how === "attention" && get("shared_scale") ? wallTop : map ? top4(highest(map), how) : 1;
    drawMain(map, top);
    drawLegend(how, top);
    for (const [id, b] of tokenButtons) { const on = String(id === t); if (b.getAttribute("aria-pressed") !== on) b.setAttribute("aria-pressed", on); }
    const text = describe(t, how, map);
    if (readout.textContent !== text) { readout.textContent = text; sr.say(text); }
    const looking = t === ANSWER || !get("incoming") ? `Where ${place(t)} looks` : `Who looks at ${place(t)}`;
    const title = how === "rollout" ? `${looking}, by rollout up to each block` : how === "lens" ? `Probability of ${name(target())} in every patch, after each block` : `${looking}, in every head`;
    if (wallTitle.textContent !== title) wallTitle.textContent = title;
    if (how === "lens") drawLens(t);
  }
  const redraw = scheduler(draw);
  function describe(t, how, map) {
    if (!map) return host.live ? "computing…" : "not in this page: choose another class";
    const best = hottest(map), b = get("block"), where = `block ${Math.max(0, b)}`, fused = get("head"), incoming = get("incoming") && t !== ANSWER;
    if (how === "lens") {
      const at = lensRow(b + 1, t), when = b < 0 ? "Before block 0" : `After ${where}`;
      return `${when} the head reads ${name(frame.lens.best[at])} (${percent(frame.lens.bestProb[at])}) in ${place(t)}. Colour: probability of ${name(target())}.`;
    }
    const error = how === "relevance" ? 0 : errorOf(how, t, incoming), rest = prefix.map((p, i) => `${p} ${roughly(map[i], error)}`).join(", ");
    const verb = incoming ? `is looked at most by` : how === "relevance" ? `leaned most on` : "looks most at";
    const amount = how === "relevance" ? map[best].toPrecision(2) : roughly(map[best], error);
    const subject = place(t).replace(/^./, (c) => c.toUpperCase());
    const scope = how === "attention" ? `${where}, ${typeof fused === "number" ? `head ${fused}` : `${fused} of heads`}` : how === "rollout" ? `rollout up to ${where}` : `relevance for ${name(target())}`;
    return `${subject} ${verb} ${place(best)}: ${amount}${P && how !== "relevance" ? ` (${rest})` : ""} · ${scope}`;
  }
  function drawLens(t) {
    const rowsOf = [];
    for (let d = 0; d <= blocks; d++) {
      const at = lensRow(d, t), p = frame.lens.bestProb[at];
      rowsOf.push(h("button", { type: "button", class: "vfs-bar", title: name(frame.lens.best[at]), "aria-pressed": String(d === get("block") + 1), onclick: () => host.put({ block: d - 1 }) }, h("span", {}, d ? `after block ${d - 1}` : "before block 0"), h("i", { style: `--p:${p}` }), h("b", {}, `${percent(p)} ${name(frame.lens.best[at])}`)));
    }
    refill(lens, h("h4", {}, `What the head reads in ${place(t)}, block by block`), h("div", { class: "vfs-bars" }, ...rowsOf));
  }
  function drawBars() {
    const before = new Map(frame.baseline || []), cut = (frame.ablated || []).length;
    barsTitle.textContent = cut ? `Prediction with ${cut} head${cut > 1 ? "s" : ""} off (outline: all on)` : frame.label >= 0 ? `Prediction (true class: ${name(frame.label)})` : "Prediction";
    refill(bars, ...frame.probabilities.map(([c, p]) => {
      const can = host.live || frame.relevance[c], was = before.get(c);
      return h(can ? "button" : "div", { class: "vfs-bar", type: can ? "button" : null, title: can ? `What speaks for ${name(c)}?` : null, onclick: can ? () => { hover = null; host.put({ method: "relevance", target: c, token: reader }); } : () => {} },
        h("span", {}, name(c) + (c === frame.label ? " ✓" : "")), h("i", { style: `--p:${p}` + (cut && was !== undefined ? `;--was:${was}` : ""), class: cut ? "was" : "" }), h("b", {}, percent(p) + (cut && was !== undefined ? ` (${p >= was ? "+" : "−"}${(100 * Math.abs(p - was)).toFixed(1)})` : "")));
    }));
  }
  const done = {};
  const once = (name, key, make) => { if (done[name] !== key) { done[name] = key; make(); } };   // only what changed
  function sync() {                            // controls follow the traits
    if (!frame) return;
    const how = get("method"), cut = get("ablated"), b = get("block"), k = get("head");
    method.set(how); direction.set(get("incoming")); opacity.set(get("opacity")); keep.set(Math.round(100 * get("keep"))); cmap.set(get("colormap")); shared.set(get("shared_scale"));
    block.set(b + 1, how === "lens" ? 0 : 1, blocks);
    head.set(k === "mean" ? heads : k === "max" ? heads + 1 : k);
    [...fusion.children].forEach((node, i) => node.setAttribute("aria-pressed", String(k === ["mean", "max"][i])));
    block.node.hidden = how === "relevance"; head.node.hidden = fusion.hidden = how !== "attention" || heads === 1;
    direction.node.hidden = how === "lens" || (get("token") === ANSWER); lens.hidden = how !== "lens"; classPick.node.hidden = how !== "relevance" && how !== "lens";
    legendRow.title = how === "relevance" ? "relevance (no unit)" : how === "lens" ? "probability" : "share of the token's attention";
    const asks = how === "lens" ? frame.lens.classes : host.live ? classes.map((_, i) => i) : Object.keys(frame.relevance).map(Number);
    const offered = asks.length <= 1000 ? [...asks].sort((x, y) => x - y) : frame.probabilities.map(([c]) => c);
    once("classes", `${frame.serial}/${how === "lens"}/${offered.length}`, () => classPick.fill([[-1, `predicted: ${name(frame.probabilities[0][0])}`], ...offered.map((c) => [c, name(c)])])); classPick.set(offered.includes(get("target")) ? get("target") : -1);
    if (how === "relevance" && !frame.relevance[target()] && host.live) { const key = `${frame.index}/${target()}/${JSON.stringify(cut)}`; if (!asked.has(key)) { asked.add(key); host.ask({ type: "relevance", index: frame.index, target: target() }); } }
    wallTitle.hidden = wallTools.hidden = wallScroll.hidden = how === "relevance"; off.node.hidden = how !== "attention"; shared.node.hidden = how === "lens";
    buildWall(how === "attention" ? heads : 1);
    once("tiles", `${how}/${b}/${k}/${JSON.stringify(cut)}`, () => tiles.forEach((node, i) => {
      const bb = i % blocks, kk = Math.floor(i / blocks), heady = how === "attention", gone = heady && cut.some(([x, y]) => x === bb && y === kk), text = heady ? `block ${bb}, head ${kk}` : `block ${bb}`;
      node.classList.toggle("off", gone); node.setAttribute("aria-pressed", String(bb === b && (!heady || kk === k)));
      node.setAttribute("aria-label", `${text}${gone ? ", switched off" : ""}`); node.title = `${text}${gone ? " (off)" : ""}`;
    }));
    restore.hidden = !cut.length || !(host.live || frames.has(get("image_index")));
    [...thumbs.children].forEach((node) => node.setAttribute("aria-pressed", String(+node.dataset.index === get("image_index"))));
    once("bars", `${frame.serial}/${cut.length}/${host.live}/${Object.keys(frame.relevance)}`, drawBars); redraw();
  }
  function show() {                            // the chosen image, from what came with the widget or from Python
    const index = get("image_index"), cut = get("ablated"), late = get("frame"), local = !cut.length && frameOf(index);
    if (local) frame = local;
    else if (late?.attention && late.index === index && JSON.stringify(late.ablated) === JSON.stringify(cut)) frame = unpack(late);
    frame ??= frameOf(get("frames")[0]?.index);
    sync();
  }
  function drawThumbs() {
    const all = bytes(get("thumbs")), [th, tw] = info.thumb, count = all.length / (3 * th * tw), size = 3 * th * tw, names = get("names");
    thumbs.replaceChildren();
    for (let i = 0; i < count; i++) {
      if (!host.live && !frames.has(i)) continue;      // without Python only the images that came along
      thumbs.append(h("button", { type: "button", "data-index": i, "aria-label": `image ${i + 1}${names[i] ? `, ${names[i]}` : ""}`, title: names[i] || `image ${i + 1}`, onclick: () => { hover = null; host.put({ image_index: i }); } }, picture(all.subarray(i * size, (i + 1) * size), tw, th)));
    }
    thumbs.hidden = thumbs.children.length < 2;
  }
  function poster() {                          // picture, colour bar and caption, for saving
    const c = document.createElement("canvas"), ctx = c.getContext("2d"), W = Math.max(main.width, 480), lines = [];
    ctx.font = "14px sans-serif";
    for (const word of readout.textContent.split(" ")) { const last = lines.length - 1; if (last >= 0 && ctx.measureText(`${lines[last]} ${word}`).width < W - 20) lines[last] += ` ${word}`; else lines.push(word); }
    c.width = W; c.height = main.height + 46 + 20 * lines.length;
    ctx.fillStyle = "#fff"; ctx.fillRect(0, 0, c.width, c.height); ctx.drawImage(main, (W - main.width) / 2, 0);
    ctx.drawImage(legend, 10, main.height + 8, W - 90, 10); ctx.fillStyle = "#111"; ctx.font = "14px sans-serif"; ctx.fillText(legendMax.textContent, W - 74, main.height + 18);
    lines.forEach((line, i) => ctx.fillText(line, 10, main.height + 44 + 20 * i));
    return c;
  }
  for (const key of ["block", "head", "token", "method", "target", "incoming", "opacity", "keep", "colormap", "shared_scale"]) host.on(`change:${key}`, sync);
  for (const key of ["image_index", "ablated", "frame"]) host.on(`change:${key}`, show);   // until Python's frame fits, the old one stays
  host.on("change:thumbs", () => { drawThumbs(); sync(); });
  host.on("msg:custom", (m, buffers) => { if (m.type === "relevance" && frame && m.index === frame.index) { frame.relevance[m.target] = { q: bytes(buffers[0]), scale: floats(buffers[1]) }; asked.clear(); sync(); } });
  host.found = () => { drawThumbs(); sync(); };
  host.lost = () => { switching = false; off.set(false); el.classList.remove("switching"); drawThumbs(); show(); };
  drawThumbs(); show();
}
KINDS.attention = attention;

// ---------------------------------------- playground
function chart(title, unit, runs, pick, low) {   // an SVG line chart: one colour per run
  const W = 420, H = 226, L = 44, R = 10, T = 24, B = 34, NS = "http://www.w3.org/2000/svg";
  const s = (tag, props, text) => { const n = document.createElementNS(NS, tag); for (const [k, v] of Object.entries(props)) n.setAttribute(k, v); if (text !== undefined) n.textContent = text; return n; };
  const series = runs.flatMap((run) => pick(run).map((line) => ({ ...line, colour: run.colour })));
  const xs = series.flatMap((l) => l.points.map((p) => p[0])), ys = series.flatMap((l) => l.points.map((p) => p[1])).filter(Number.isFinite);
  const x1 = Math.max(1, ...xs), y0 = low ?? Math.min(...ys, 0), y1 = Math.max(low === undefined ? 0.1 : 0, ...ys) || 1;
  const X = (x) => L + (x / x1) * (W - L - R), Y = (y) => T + (1 - (y - y0) / (y1 - y0)) * (H - T - B);
  const svg = s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title}: ${series.length ? series.map((l) => `${l.name} ${l.points.length} points`).join(", ") : "no runs yet"}`, class: "vfs-chart" });
  svg.append(s("text", { x: L, y: 14, class: "vfs-chart-title" }, title));
  for (let i = 0; i <= 4; i++) { const y = y0 + ((y1 - y0) * i) / 4; svg.append(s("line", { x1: L, x2: W - R, y1: Y(y), y2: Y(y), class: "vfs-gridline" }), s("text", { x: L - 6, y: Y(y) + 4, "text-anchor": "end" }, unit(y))); }
  const steps = Math.min(5, Math.max(1, Math.round(x1)));
  for (let i = 0; i <= steps; i++) { const x = (x1 * i) / steps; svg.append(s("text", { x: X(x), y: H - 19, "text-anchor": "middle" }, +x.toFixed(1))); }
  svg.append(s("text", { x: (L + W - R) / 2, y: H - 5, "text-anchor": "middle" }, "epoch"));
  for (const line of series) {
    const points = line.points.filter((p) => Number.isFinite(p[1])), d = points.map((p, i) => `${i ? "L" : "M"}${X(p[0]).toFixed(1)} ${Y(p[1]).toFixed(1)}`).join("");
    svg.append(s("path", { d, fill: "none", stroke: line.colour, "stroke-width": line.bold ? 2.5 : 1.3, "stroke-opacity": line.bold ? 1 : 0.75, "data-points": points.length }));
    if (line.bold) for (const p of points) svg.append(s("circle", { cx: X(p[0]), cy: Y(p[1]), r: 3, fill: line.colour }));
  }
  return svg;
}

function playground(model, el, host) {
  const knobs = model.get("knobs"), controls = {}, groups = {};
  const numbers = h("dl", { class: "vfs-numbers" }), problem = h("p", { class: "vfs-problem", role: "status" }), status = h("p", { class: "vfs-status", role: "status" });
  const train = h("button", { type: "button", class: "vfs-go", onclick: () => host.ask({ type: "train" }) }, "Train");
  const stop = h("button", { type: "button", onclick: () => { stop.textContent = "Stopping…"; host.ask({ type: "stop" }); } }, "Stop");
  const charts = h("div", { class: "vfs-charts" }), table = h("table", { class: "vfs-table" }), hidden = new Set();
  const form = h("div", { class: "vfs-form needs-kernel" });
  for (const [key, label, options, group] of knobs) {
    const values = options.map(([v]) => v), text = (i) => options[i][1];
    controls[key] = [slider(label, 0, options.length - 1, 1, text, (i) => host.put({ settings: { ...model.get("settings"), [key]: values[i] } })), values];
    (groups[group] ||= h("fieldset", {}, h("legend", {}, group))).append(controls[key][0].node);
  }
  form.append(...Object.values(groups));
  const cell = (text) => h("td", {}, text);
  el.append(form, h("div", { class: "vfs-verdict" }, numbers, problem, h("div", { class: "vfs-buttons needs-kernel" }, train, stop), status), charts, h("div", { class: "vfs-scroll" }, table),
    h("p", { class: "vfs-offline" }, "A recorded run. To move the sliders and train your own, open this notebook in JupyterLab and run its cells."));
  function settings() {
    const now = model.get("settings");
    for (const [key, [control, values]] of Object.entries(controls)) control.set(Math.max(0, values.findIndex((v) => v === now[key])));
  }
  function verdict() {
    const n = model.get("numbers"), wrong = n.problem || "";
    numbers.replaceChildren(...(n.rows || []).flatMap(([label, value]) => [h("div", {}, h("dt", {}, label), h("dd", {}, value))]));
    if (problem.textContent !== wrong) problem.textContent = wrong;
    problem.hidden = !wrong; numbers.classList.toggle("vfs-faded", !!wrong); busy();
  }
  function busy() {
    const on = model.get("busy"), text = model.get("status");
    train.hidden = on || !!(model.get("numbers").problem); stop.hidden = !on;
    if (!on) stop.textContent = "Stop";
    if (status.textContent !== text) status.textContent = text;
  }
  const all = () => { const live = model.get("current"); return [...model.get("runs"), ...(live.name ? [live] : [])].map((r, i) => ({ ...r, colour: LINES[i % LINES.length] })); };
  const draw = scheduler(() => {
    const runs = all(), visible = runs.filter((r) => !hidden.has(r.name));
    charts.replaceChildren(
      chart("Loss (thin: training, dots: validation)", (y) => y.toFixed(2), visible, (r) => [{ name: `${r.name} training`, points: r.train }, { name: `${r.name} validation`, points: r.valid.map((v) => [v[0], v[1]]), bold: true }]),
      chart("Validation accuracy", (y) => `${Math.round(100 * y)} %`, visible, (r) => [{ name: r.name, points: r.valid.map((v) => [v[0], v[2]]), bold: true }], 0));
    charts.hidden = table.hidden = !runs.length;
  });
  function list() {
    const runs = all();
    const columns = ["", "run", "setting", "parameters", "epochs", "best accuracy", "seconds", "status", ""];
    refill(table, h("caption", {}, "Runs, laid over each other above"), h("thead", {}, h("tr", {}, ...columns.map((c) => (c ? h("th", { scope: "col" }, c) : h("td", {}))))), h("tbody", {}, ...runs.map((r, i) => {
      const box = h("input", { type: "checkbox", "aria-label": `draw ${r.name}`, onchange: () => { if (box.checked) hidden.delete(r.name); else hidden.add(r.name); draw(); } });
      box.checked = !hidden.has(r.name);
      const explore = r.status === "running" ? null : h("button", { type: "button", class: "needs-kernel", "data-run": i, "aria-label": `Explore ${r.name}`, onclick: () => host.ask({ type: "explore", run: i }) }, "Explore");
      return h("tr", {}, h("td", { class: "vfs-line" }, box, h("span", { class: "vfs-swatch", style: `background:${r.colour}` })), h("td", { class: "vfs-line" }, r.name), cell(r.summary), cell(short(r.parameters)), cell(r.valid.length), cell(r.valid.length ? percent(Math.max(...r.valid.map((v) => v[2]))) : "–"), cell(r.seconds.toFixed(1)), cell(r.status), h("td", {}, explore ?? ""));
    })));
    draw();
  }
  let rows = "", resting;
  function measure() { clearTimeout(resting); resting = setTimeout(() => { if (host.live && !model.get("busy")) host.ask({ type: "measure" }); }, 700); }
  host.on("change:settings", () => { settings(); measure(); }); host.on("change:numbers", verdict); host.on("change:busy", busy); host.on("change:status", busy); host.on("change:runs", list);
  host.on("change:current", () => { const c = model.get("current"), key = `${c.name}/${c.valid?.length}`; if (key !== rows) { rows = key; list(); } else draw(); });
  host.found = () => { list(); measure(); };
  settings(); verdict(); list();
}
KINDS.playground = playground;

// ---------------------------------------- patches
function patches(model, el, host) {
  const { height, width, sizes } = model.get("info"), source = picture(bytes(model.get("image")), width, height), zoom = Math.max(1, Math.round(256 / width));
  let hover = null, pinned = null, order = [];
  const get = (k) => model.get(k), marked = () => hover ?? pinned, side = () => sizes[Math.min(get("size"), sizes.length - 1)], sr = speaker();
  const size = slider("Patch size", 0, sizes.length - 1, 1, (i) => `${sizes[i]} × ${sizes[i]} pixels`, (i) => host.put({ size: i }));
  const put = slider("Patches put back", 0, 100, 1, (v) => `${v} %`, (v) => host.put({ share: v / 100 }));
  const shuffle = tick("shuffle the sequence first", (on) => host.put({ shuffled: on }));
  const canvas = (label) => { const c = h("canvas", { role: "img", "aria-label": label }); c.width = width * zoom; c.height = height * zoom; return c; };
  const grid = canvas("The image with its patch grid"), back = canvas("The image put together from the sequence"), strip = h("canvas", { role: "img", "aria-label": "The sequence of patches" }), note = h("div", { class: "vfs-readout" });
  grid.tabIndex = 0; grid.setAttribute("role", "application"); grid.setAttribute("aria-label", "The image with its patch grid. Arrow keys move from patch to patch, Home and End to the first and the last; Enter puts the sentence back up to this patch.");
  const box = (title, c) => h("figure", {}, h("figcaption", {}, title), c);
  el.append(h("div", { class: "vfs-row" }, size.node, put.node, shuffle.node), h("div", { class: "vfs-columns vfs-three" }, box("cut", grid), box("the sequence", strip), box("put back", back)), note, sr.node);
  const count = () => [Math.floor(height / side()), Math.floor(width / side())];
  function shuffled(n) { const a = Array.from({ length: n }, (_, i) => i); let seed = 7; for (let i = n - 1; i > 0; i--) { seed = (seed * 1103515245 + 12345) % 2147483648; const j = seed % (i + 1); [a[i], a[j]] = [a[j], a[i]]; } return a; }
  function draw() {
    const p = side(), [rows, cols] = count(), n = rows * cols;
    order = get("shuffled") ? shuffled(n) : Array.from({ length: n }, (_, i) => i);
    const g = grid.getContext("2d"), b = back.getContext("2d"), s = strip.getContext("2d"), done = Math.round(get("share") * n);
    g.imageSmoothingEnabled = b.imageSmoothingEnabled = false; g.drawImage(source, 0, 0, grid.width, grid.height); b.clearRect(0, 0, back.width, back.height);
    g.strokeStyle = "rgba(255,255,255,.6)"; g.lineWidth = Math.max(1, (1.2 * grid.width) / (grid.clientWidth || grid.width));   // still there when the canvas is shown smaller
    for (let i = 0; i < n; i++) g.strokeRect((i % cols) * p * zoom + 0.5, Math.floor(i / cols) * p * zoom + 0.5, p * zoom, p * zoom);
    const across = Math.ceil(Math.sqrt(n * 1.3)), cell = Math.floor(width * zoom / across), gap = n > 400 ? 0 : cell > 12 ? 3 : 1;
    strip.width = across * cell; strip.height = Math.ceil(n / across) * cell; s.imageSmoothingEnabled = false;
    order.forEach((i, at) => {
      const sx = (i % cols) * p, sy = Math.floor(i / cols) * p, x = (at % across) * cell, y = Math.floor(at / across) * cell;
      s.drawImage(source, sx, sy, p, p, x, y, cell - gap, cell - gap);
      if (at < done) b.drawImage(source, sx, sy, p, p, (at % cols) * p * zoom, Math.floor(at / cols) * p * zoom, p * zoom, p * zoom);
      if (i === marked()) for (const [ctx, rx, ry, w] of [[g, sx * zoom, sy * zoom, p * zoom], [s, x, y, cell - gap], ...(at < done ? [[b, (at % cols) * p * zoom, Math.floor(at / cols) * p * zoom, p * zoom]] : [])]) for (const [lw, c] of [[5, "#000"], [2.5, "#fff"]]) { ctx.lineWidth = lw; ctx.strokeStyle = c; ctx.strokeRect(rx + 1.5, ry + 1.5, w - 3, w - 3); }
    });
    const text = (marked() === null ? "" : `Patch ${marked()} (row ${Math.floor(marked() / cols)}, column ${marked() % cols}) is word ${order.indexOf(marked())} of the sentence. `) + `${rows} × ${cols} = ${n} patches, each a vector of 3 × ${p} × ${p} = ${3 * p * p} numbers; attention compares ${(n * n).toLocaleString("en")} pairs.` + (height % p || width % p ? ` ${p} does not divide ${height} × ${width}: a model would refuse it.` : "");
    if (note.textContent !== text) { note.textContent = text; sr.say(text); }
  }
  const redraw = scheduler(draw);
  function over(e, c) { const r = c.getBoundingClientRect(); return [(e.clientX - r.left) / r.width, (e.clientY - r.top) / r.height].map((x) => (x >= 0 && x < 1 ? x : NaN)); }   // NaN: a captured pointer has left
  const point = (i) => { if (i !== hover) { hover = i; redraw(); } };
  function under(e, c) {                       // the patch at a place on one of the three pictures
    const [x, y] = over(e, c), [rows, cols] = count();
    if (c === strip) { const across = Math.ceil(Math.sqrt(rows * cols * 1.3)), cell = Math.floor(width * zoom / across); return order[Math.floor(y * strip.height / cell) * across + Math.floor(x * strip.width / cell)] ?? null; }
    const i = Math.min(rows - 1, Math.floor(y * height / side())) * cols + Math.min(cols - 1, Math.floor(x * width / side()));
    return i >= 0 ? (c === grid ? i : order[i]) ?? null : null;
  }
  for (const c of [grid, back, strip]) {
    c.addEventListener("pointermove", (e) => point(under(e, c)));
    c.addEventListener("pointerleave", () => point(null));
    c.addEventListener("click", (e) => { const i = under(e, c); pinned = i === pinned ? null : i; redraw(); });   // a tap has no hovering before it
  }
  grid.addEventListener("keydown", (e) => {
    const [rows, cols] = count(), at = marked(), move = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[e.key];
    if (move) { const [row, column] = at === null ? [0, 0] : [Math.floor(at / cols) + move[0], (at % cols) + move[1]]; pinned = Math.min(rows - 1, Math.max(0, row)) * cols + Math.min(cols - 1, Math.max(0, column)); }
    else if (e.key === "Home" || e.key === "End") pinned = e.key === "Home" ? 0 : rows * cols - 1;
    else if (e.key === "Enter" || e.key === " ") host.put({ share: at === null ? 1 : (order.indexOf(at) + 1) / (rows * cols) });
    else return;
    e.preventDefault(); e.stopPropagation(); hover = null; redraw();
  });
  function sync() { size.set(get("size")); put.set(Math.round(100 * get("share"))); shuffle.set(get("shuffled")); redraw(); }
  for (const k of ["share", "shuffled"]) host.on(`change:${k}`, sync);
  host.on("change:size", () => { hover = pinned = null; sync(); });
  sync();
}
KINDS.patches = patches;

// ---------------------------------------- positions
function positions(model, el, host) {
  const { rows, cols, titles } = model.get("info"), N = rows * cols, sims = model.get("similarities").map((b) => new Int8Array(bytes(b).slice().buffer)), sr = speaker(), note = h("div", { class: "vfs-readout" });
  let hover = null;
  const stretch = tick("stretch the colours of each panel to its own range", (on) => host.put({ stretch: on })), low = h("span"), high = h("span");
  const table = colours("redblue"), now = () => hover ?? model.get("position");
  const panels = titles.map((title, i) => { const c = h("canvas", { class: "vfs-position", width: cols * 32, height: rows * 32, tabindex: i ? -1 : 0, role: "application", "aria-label": `${title} position embeddings. Arrow keys move the position, Enter goes to the mirrored one, Home and End to the first and the last.` }); return [c, h("figure", {}, h("figcaption", {}, title), c)]; });
  const legend = h("canvas", { class: "vfs-legend", width: 256, height: 1, "aria-hidden": "true" });
  el.append(h("div", { class: "vfs-columns" }, ...panels.map(([, f]) => f)), h("div", { class: "vfs-legend-row" }, low, legend, high), stretch.node, note, sr.node);
  { const ctx = legend.getContext("2d"), d = ctx.createImageData(256, 1); for (let i = 0; i < 256; i++) d.data.set([table[3 * i], table[3 * i + 1], table[3 * i + 2], 255], 4 * i); ctx.putImageData(d, 0, 0); }
  function draw() {
    const t = now();
    panels.forEach(([c], k) => {
      const ctx = c.getContext("2d"), row = sims[k].subarray(t * N, (t + 1) * N), own = model.get("stretch"), least = own ? Math.min(...row) : -127, most = own ? Math.max(...row.filter((_, j) => j !== t)) : 127;
      for (let j = 0; j < N; j++) { const v = 3 * Math.min(255, Math.round((255 * (row[j] - least)) / (most - least || 1))); ctx.fillStyle = `rgb(${table[v]},${table[v + 1]},${table[v + 2]})`; ctx.fillRect((j % cols) * 32, Math.floor(j / cols) * 32, 31, 31); }
      for (const [w, s] of [[5, "#000"], [2.5, "#fff"]]) { ctx.lineWidth = w; ctx.strokeStyle = s; ctx.strokeRect((t % cols) * 32 + 2, Math.floor(t / cols) * 32 + 2, 27, 27); }
    });
    low.textContent = model.get("stretch") ? "least" : "−1"; high.textContent = model.get("stretch") ? "most, itself apart (cosine similarity)" : "1 (cosine similarity)"; stretch.set(model.get("stretch"));
    const r = Math.floor(t / cols), c = t % cols, far = (rows - 1 - r) * cols + (cols - 1 - c), next = c + 1 < cols ? t + 1 : t - 1;
    const text = `Position row ${r}, column ${c}. ` + titles.map((title, k) => `${title}: ${(sims[k][t * N + next] / 127).toFixed(2)} to its neighbour, ${(sims[k][t * N + far] / 127).toFixed(2)} to the mirrored corner`).join("; ") + ".";
    if (note.textContent !== text) { note.textContent = text; sr.say(text); }
  }
  const redraw = scheduler(draw);
  for (const [c] of panels) {
    const under = (e) => { const b = c.getBoundingClientRect(); return Math.max(0, Math.min(rows - 1, Math.floor(((e.clientY - b.top) / b.height) * rows))) * cols + Math.max(0, Math.min(cols - 1, Math.floor(((e.clientX - b.left) / b.width) * cols))); };
    c.addEventListener("pointermove", (e) => { const t = under(e); if (t !== hover) { hover = t; redraw(); } });
    c.addEventListener("pointerleave", () => { hover = null; redraw(); });
    c.addEventListener("click", (e) => host.put({ position: under(e) }));   // a tap has no hovering before it
    c.addEventListener("keydown", (e) => { const t = model.get("position"), move = { ArrowLeft: t % cols ? -1 : 0, ArrowRight: t % cols < cols - 1 ? 1 : 0, ArrowUp: t >= cols ? -cols : 0, ArrowDown: t + cols < N ? cols : 0, Home: -t, End: N - 1 - t, Enter: N - 1 - 2 * t, " ": N - 1 - 2 * t }[e.key]; if (move === undefined) return; e.preventDefault(); e.stopPropagation(); hover = null; host.put({ position: t + move }); });
  }
  host.on("change:position", redraw); host.on("change:stretch", redraw); draw();
}
KINDS.positions = positions;

// ---------------------------------------- augmentation
function augmentation(model, el, host) {
  const { height, width, kinds, strengths } = model.get("info"), get = (k) => model.get(k);
  const kind = choice("Change", kinds.map((k, i) => [i, k]), (v) => host.put({ change: +v })), strength = slider("Strength", 0, 1, 1, (i) => strengths[get("change")][i] ?? "", (i) => host.put({ strength: i }));
  const again = h("button", { type: "button", class: "needs-kernel", onclick: () => host.ask({ type: "again" }) }, "Draw again"), sheet = h("div", { class: "vfs-sheet" }), zoom = Math.max(1, Math.round(96 / width));
  el.append(h("div", { class: "vfs-row" }, kind.node, strength.node, again), sheet);
  const cell = (rgb, text) => { const c = picture(rgb, width, height); c.setAttribute("role", "img"); c.setAttribute("aria-label", text); c.style.width = `${width * zoom}px`; return h("figure", {}, c, h("figcaption", {}, text)); };
  const draw = scheduler(() => {
    const size = 3 * height * width, originals = bytes(get("originals")), count = originals.length / size, k = get("change"), s = Math.min(get("strength"), strengths[k].length - 1), sheetOf = get("sheets")[k][s], data = bytes(sheetOf.images);
    const line = (title, rgb, label) => [h("h4", {}, title), h("div", { class: "vfs-strip" }, ...Array.from({ length: rgb.length / size }, (_, i) => cell(rgb.subarray(i * size, (i + 1) * size), label(i))))];
    sheet.replaceChildren(...line("before", originals, (i) => get("labels")[i % count]), ...line(`after: ${kinds[k]}, ${strengths[k][s]}`, data, (i) => sheetOf.labels[i]));
  });
  function sync() { kind.set(get("change")); const most = strengths[get("change")].length - 1; strength.set(Math.min(get("strength"), most), 0, most); strength.node.hidden = !most; draw(); }
  for (const k of ["change", "strength", "sheets"]) host.on(`change:${k}`, sync);
  sync();
}
KINDS.augmentation = augmentation;

// ---------------------------------------- hosts
function render({ model, el }) {
  const root = h("section", { class: `vfs vfs-${model.get("kind")}`, id: `vfs-view-${++serial}`, "aria-label": model.get("title") });
  el.append(root);
  const host = connection(model, root);
  KINDS[model.get("kind")](model, root, host);
  host.ping();
  return () => host.close();
}
function mount(el, state) { return render({ model: new StaticModel(state), el }); }
export default { render };
