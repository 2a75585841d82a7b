// Every head of every block, as small pictures of where the chosen token looks; and the switches.
import { button, choice, colours, h, scheduler, setText, slider, tick } from "./tools.js";
import { help } from "./words.js";

const METHODS = [
  ["attention", "attention: one block"],
  ["rollout", "rollout: all blocks so far"],
  ["relevance", "relevance for a class"],
  ["lens", "logit lens"],
];

export function wallView(lab) {
  const { model } = lab,
    { rows, columns, L, h: heads, prefix } = model;
  const canvas = h("canvas", { class: "vfs-wall-canvas", "aria-hidden": "true" });
  Object.assign(canvas, { width: L * (columns + 1) - 1, height: heads * (rows + 1) - 1 });
  const wait = h("p", { class: "vfs-wall-wait", "aria-hidden": "true" });
  const grid = h("div", { class: "vfs-wall-grid", role: "group", "aria-label": "Every head of every block" });
  const tiles = Array.from({ length: L * heads }, (_, i) => {
    const [head, block] = [Math.floor(i / L), i % L];
    const node = h("button", { type: "button", tabindex: i ? -1 : 0, onclick: () => press(block, head) });
    grid.append(node);
    return node;
  });
  function press(block, head) {
    const { off } = lab.state;
    if (!lab.state.switching) lab.set({ block, head, method: "attention" });
    else
      lab.set({
        off: lab.isOff(block, head)
          ? off.filter((pair) => pair[0] !== block || pair[1] !== head)
          : [...off, [block, head]],
      });
  }
  grid.addEventListener("keydown", (event) => {
    const at = tiles.indexOf(grid.getRootNode().activeElement),
      move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -L, ArrowDown: L }[event.key];
    const next = at + move;
    if (!move || !tiles[next] || (Math.abs(move) === 1 && Math.floor(next / L) !== Math.floor(at / L))) return;
    event.preventDefault();
    event.stopPropagation();
    tiles[at].tabIndex = -1;
    tiles[next].tabIndex = 0;
    tiles[next].focus();
  });
  const names = Array.from({ length: L }, (_, block) =>
    h("button", { type: "button", class: "vfs-block-name", onclick: () => pressBlock(block) }, `${block}`),
  );
  function pressBlock(block) {
    const { skip } = lab.state;
    if (!lab.state.switching) lab.set({ block });
    else lab.set({ skip: skip.includes(block) ? skip.filter((x) => x !== block) : [...skip, block] });
  }

  const method = choice("Show", METHODS, (value) => lab.set({ method: value }));
  const block = slider(
    "Block",
    0,
    L - 1,
    1,
    (v) => `${v} of 0–${L - 1}`,
    (v) => lab.set({ block: v }),
  );
  const head = choice(
    "Head",
    [["mean", "mean of all heads"], ...Array.from({ length: heads }, (_, k) => [k, `head ${k}`])],
    (v) => lab.set({ head: v === "mean" ? v : +v }),
  );
  const about = choice("Class", [[-1, "the one it answers"], ...model.classes.map((name, k) => [k, name])], (v) =>
    lab.set({ about: +v }),
  );
  const off = tick("A click on a head or a block number switches it off", (switching) => lab.set({ switching }));
  const restore = button("Switch everything on", () => lab.set({ off: [], skip: [] }));
  const meaning = h("span"),
    shown = {
      attention: help("attention"),
      rollout: help("rollout"),
      relevance: help("relevance"),
      lens: help("logit lens"),
    };
  meaning.append(...Object.values(shown));

  function draw() {
    const { state } = lab;
    setText(wait, lab.current() ? "" : lab.waiting());
    if (lab.current()) paintWall();
    tiles.forEach((node, i) => {
      const [k, b] = [Math.floor(i / L), i % L],
        silent = lab.isOff(b, k) || state.skip.includes(b);
      node.setAttribute("aria-label", `Block ${b}, head ${k}${silent ? ", off" : ""}`);
      node.setAttribute(
        "aria-pressed",
        String(state.method === "attention" && b === lab.block() && (state.head === "mean" || state.head === k)),
      );
      node.classList.toggle("off", silent);
    });
    names.forEach((node, b) => {
      node.setAttribute("aria-pressed", String(b === lab.block()));
      node.setAttribute("aria-label", `Block ${b}${state.skip.includes(b) ? ", switched off" : ""}`);
      node.classList.toggle("off", state.skip.includes(b));
    });
    restore.disabled = !state.off.length && !state.skip.length;
    head.node.hidden = state.method !== "attention" || heads < 2;
    about.node.hidden = state.method !== "relevance" && state.method !== "lens";
    for (const [name, node] of Object.entries(shown)) node.hidden = name !== state.method;
    off.set(state.switching);
    lab.root.classList.toggle("switching", state.switching);
    method.set(state.method);
    head.set(state.head);
    about.set(state.about);
    block.set(lab.block());
  }
  function paintWall() {
    // each tile has its own scale, so wide that attention spread evenly looks even
    const ctx = canvas.getContext("2d"),
      table = colours("viridis"),
      data = ctx.createImageData(canvas.width, canvas.height),
      token = lab.hovered ?? lab.token();
    for (let b = 0; b < L; b++)
      for (let k = 0; k < heads; k++) {
        const values = lab.values({ token, block: b, head: k, method: "attention" }).subarray(prefix),
          largest = Math.max(4 / lab.model.T, ...values);
        values.forEach((value, n) => {
          const x = b * (columns + 1) + (n % columns),
            y = k * (rows + 1) + Math.floor(n / columns),
            at = 3 * Math.round((255 * value) / largest);
          data.data.set([table[at], table[at + 1], table[at + 2], 255], 4 * (y * canvas.width + x));
        });
      }
    ctx.putImageData(data, 0, 0);
  }
  const redraw = scheduler(draw);
  lab.on(redraw);
  draw();
  const headNames = Array.from({ length: heads }, (_, k) => h("span", {}, `${k ? "" : "head "}${k}`));
  return h(
    "div",
    { class: "vfs-wall-side" },
    h("h3", {}, "Where it looks: every head", help("head"), ", every block", help("block")),
    h(
      "div",
      { class: "vfs-wall", style: `--across:${L};--down:${heads};--ratio:${columns / rows}` },
      h("div", { class: "vfs-wall-rows", "aria-hidden": "true" }, headNames),
      h("div", { class: "vfs-wall-inner" }, canvas, wait, grid),
      h("span", { class: "vfs-wall-corner", "aria-hidden": "true" }, "block"),
      h("div", { class: "vfs-wall-heads" }, names),
    ),
    h(
      "div",
      { class: "vfs-controls" },
      h("div", { class: "vfs-with-help" }, method.node, meaning),
      block.node,
      head.node,
      about.node,
    ),
    h("div", { class: "vfs-buttons" }, off.node, restore),
  );
}
