// Shared by the explorers: elements, colours, controls, words for numbers.

const STOPS = {
  viridis: "44015448186a472d7b4240863b528b33638d2c728e26828e21918c1fa08828ae803fbc735ec96284d44baddc30d8e219fde725",
  magma: "0000040a08221d114736106b51127c6a1c818326819c2e7fb73779d0416fe75263f56b5cfc8961fea772fec488fde2a3fcfdbf",
  cividis: "00224e002e6a1a386f32436d434e6c535a6d61656f6f70737d7c788c88789b9476aba072bcae6ccdbb63dec958f0d846fee838",
  grey: "0000001313132525253c3c3c525252636363737373858585979797aaaaaabebebeccccccdadadae5e5e5f0f0f0f8f8f8ffffff",
  redblue: "0530611752902a71b23f8ec06bacd19bc9e0c2ddece0ecf3f7f6f6fbe5d8fbccb4f5aa89e48066d05548ba2832930e2667001f",
};
const tables = {};

// 256 colours, three bytes each.
export function colours(name) {
  if (tables[name]) return tables[name];
  const stops = STOPS[name].match(/../g).map((x) => parseInt(x, 16)),
    last = stops.length / 3 - 1;
  const table = new Uint8Array(768);
  for (let i = 0; i < 256; i++) {
    const x = (i / 255) * last,
      k = Math.min(Math.floor(x), last - 1),
      f = x - k;
    for (let c = 0; c < 3; c++) table[3 * i + c] = Math.round(stops[3 * k + c] * (1 - f) + stops[3 * k + 3 + c] * f);
  }
  return (tables[name] = table);
}

// Values in [low, high] as rgb(…) of a colour table.
export function colourOf(name, value, low, high) {
  const at = 3 * Math.max(0, Math.min(255, Math.round((255 * (value - low)) / (high - low || 1)))),
    table = colours(name);
  return `rgb(${table[at]},${table[at + 1]},${table[at + 2]})`;
}

// Make an element. JupyterLab takes the arrow keys from elements without the attribute.
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  if (/^(button|input|select|canvas)$/.test(tag)) node.setAttribute("data-lm-suppress-shortcuts", "true");
  for (const [key, value] of Object.entries(props)) {
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else if (key === "class") node.className = value;
    else if (value === true) node.setAttribute(key, "");
    else if (value !== false && value != null) node.setAttribute(key, value);
  }
  node.append(...children.flat().filter((child) => child != null));
  return node;
}

// The same for what is drawn in a chart.
export function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

export const button = (text, onclick, props = {}) => h("button", { type: "button", onclick, ...props }, text);

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// New children; the keyboard focus stays at its place in the row.
export function refill(box, ...nodes) {
  const reachable = "button, input, select";
  const at = [...box.querySelectorAll(reachable)].indexOf(box.getRootNode().activeElement);
  box.replaceChildren(...nodes.flat());
  if (at >= 0) box.querySelectorAll(reachable)[at]?.focus();
}

// A labelled range with its value in words.
export function slider(label, min, max, step, show, input) {
  const range = h("input", { type: "range", min, max, step }),
    out = h("output", { "aria-live": "off" });
  const node = h("label", { class: "vfs-slider" }, h("span", {}, label), range, out);
  const words = () => {
    setText(out, show(+range.value));
    range.setAttribute("aria-valuetext", show(+range.value));
  };
  range.addEventListener("input", () => {
    words();
    input(+range.value);
  });
  return {
    node,
    range,
    set(value, low = min, high = max) {
      Object.assign(range, { min: low, max: high, value });
      words();
    },
  };
}

// A labelled select; options: [[value, text], …].
export function choice(label, options, input) {
  const select = h("select", { onchange: () => input(select.value) });
  const fill = (pairs) => {
    const now = select.value;
    select.replaceChildren(...pairs.map(([value, text]) => h("option", { value }, text)));
    if (pairs.some(([value]) => String(value) === now)) select.value = now;
  };
  fill(options);
  return {
    node: h("label", { class: "vfs-choice" }, h("span", {}, label), select),
    select,
    fill,
    set(value) {
      select.value = value;
    },
  };
}

// A labelled checkbox.
export function tick(label, input) {
  const box = h("input", { type: "checkbox", onchange: () => input(box.checked) });
  return {
    node: h("label", { class: "vfs-tick" }, box, h("span", {}, label)),
    box,
    set(on) {
      box.checked = on;
    },
  };
}

// A polite line for screen readers that waits until the reader rests.
export function speaker() {
  const node = h("div", { class: "vfs-sr", "aria-live": "polite" });
  let timer;
  return {
    node,
    say(text) {
      clearTimeout(timer);
      timer = setTimeout(() => setText(node, text), 400);
    },
  };
}

// Whether fingers point here, so that words fit.
export const touches = () => matchMedia("(pointer: coarse)").matches;

// At most one drawing per animation frame.
export function scheduler(draw) {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  };
}

export const percent = (x) => (x >= 0.9995 ? "100 %" : `${(100 * x).toFixed(x < 0.0995 ? 2 : 1)} %`);
export const points = (x) => `${x < 0 ? "−" : "+"}${Math.abs(100 * x).toFixed(1)} points`;
export const number = (x, digits = 3) => x.toFixed(digits).replace("-", "−");

// The cell of a canvas that holds `rows` × `columns` under a pointer, or null outside.
export function cellUnder(event, canvas, rows, columns) {
  const box = canvas.getBoundingClientRect();
  const x = (event.clientX - box.left) / box.width,
    y = (event.clientY - box.top) / box.height;
  return x >= 0 && x < 1 && y >= 0 && y < 1 ? Math.floor(y * rows) * columns + Math.floor(x * columns) : null;
}

// Where an arrow key leads on a grid, or null for another key.
export function stepOnGrid(key, cell, rows, columns) {
  const row = Math.floor(cell / columns),
    column = cell % columns;
  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  if (!moves[key]) return null;
  const [down, right] = moves[key],
    fit = (value, most) => Math.max(0, Math.min(most - 1, value));
  return fit(row + down, rows) * columns + fit(column + right, columns);
}

// A dark and a light frame around a rectangle: visible on every picture.
export function frame(ctx, x, y, width, height, colour = "#fff", weight = 1) {
  for (const [line, ink] of [
    [5 * weight, "#000"],
    [2.5 * weight, colour],
  ]) {
    ctx.lineWidth = line;
    ctx.strokeStyle = ink;
    ctx.strokeRect(x + 2 * weight, y + 2 * weight, width - 4 * weight, height - 4 * weight);
  }
}

// Colours of lines that lie over each other.
export const LINES = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b07c00", "#5d8fd6", "#8a6bc9", "#7a7a7a"];

// Binary traits arrive as DataView; saved pages hold base64.
export function bytes(value) {
  if (!value) return new Uint8Array(0);
  if (value.$b64 !== undefined) return Uint8Array.from(atob(value.$b64), (c) => c.charCodeAt(0));
  if (value.buffer) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  return new Uint8Array(value);
}
export const floats = (value) => new Float32Array(bytes(value).slice().buffer);
export const words = (value) => new Uint16Array(bytes(value).slice().buffer);

// A share read from bytes is known to half a step: print no digit that the step would change.
export function roughly(x, error) {
  if (x < error && error >= 0.00005) return `under ${percent(error)}`;
  const digits = Math.max(0, Math.min(2, Math.floor(-Math.log10(100 * Math.max(error, 1e-9)))));
  return `${(100 * x).toFixed(digits)} %`;
}

// A large number as people say it: 1.60 M.
export function short(x) {
  for (const [unit, size] of [
    ["G", 1e9],
    ["M", 1e6],
    ["k", 1e3],
  ])
    if (Math.abs(x) >= 0.9995 * size) return `${(x / size).toPrecision(3)} ${unit}`;
  return `${+x.toPrecision(3)} `;
}

// RGB bytes to a canvas.
export function picture(rgb, width, height, canvas = document.createElement("canvas")) {
  canvas.width = width;
  canvas.height = height;
  const ctx = canvas.getContext("2d"),
    data = ctx.createImageData(width, height);
  for (let i = 0, n = width * height; i < n; i++) {
    data.data[4 * i] = rgb[3 * i];
    data.data[4 * i + 1] = rgb[3 * i + 1];
    data.data[4 * i + 2] = rgb[3 * i + 2];
    data.data[4 * i + 3] = 255;
  }
  ctx.putImageData(data, 0, 0);
  return canvas;
}

// Give the reader a canvas as a PNG file.
export function save(canvas, name) {
  canvas.toBlob((blob) => {
    const url = URL.createObjectURL(blob),
      link = h("a", { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  });
}
