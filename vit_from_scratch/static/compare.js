// Compare: what was kept as A beside what is shown now as B, on one colour scale, and the signed difference.
import { fromHash, makeLab, START, toHash } from "./lab.js";
import { scaleTop, toCanvas } from "./picture.js";
import { button, cellUnder, choice, colourOf, frame, h, number, percent, refill, scheduler, setText } from "./tools.js";

const UNKEPT = { kept: START.kept, tab: START.tab, tour: START.tour, tool: START.tool };

// What the explorer shows now, in numbers and words.
function taken(lab) {
  const { model, state } = lab,
    off = state.off.length + state.skip.length,
    changed = [];
  const how =
    state.method === "attention"
      ? `attention, block ${lab.block()}, ${state.head === "mean" ? "mean of heads" : `head ${state.head}`}`
      : state.method === "lens"
        ? `lens after block ${lab.block()}, ${model.classes[lab.about()]}`
        : `${state.method}${state.method === "relevance" ? ` for ${model.classes[lab.about()]}` : ""} ` +
          `to block ${lab.block()}`;
  if (off) changed.push(`${off} switched off`);
  if (state.hidden.length)
    changed.push(`${state.hidden.length} ${state.hidden.length === 1 ? "patch" : "patches"} hidden`);
  if (state.order) changed.push("shuffled");
  if (lab.edited.has(state.image)) changed.push("drawn on");
  const caption = [
    lab.names[state.model],
    `picture ${state.image + 1}`,
    `${lab.tokenName(lab.token())}`,
    how,
    ...changed,
  ]
    .filter(Boolean)
    .join(", ");
  return {
    caption,
    model,
    pixels: lab.seen(),
    values: lab.values().slice(model.prefix),
    spread: state.method !== "lens", // the values share out a whole, so that finer patches get less each
    top: scaleTop(lab, lab.values().subarray(model.prefix)) || 1,
    probabilities: lab.result.probabilities.slice(),
  };
}

// Values per patch of one model, told in the patches of another: what lies in each, by area.
export function onGridOf(model, from, values, spread) {
  const { H, W, N } = model,
    sums = new Float32Array(N),
    cellAt = ({ P, columns }, y, x) => Math.floor(y / P) * columns + Math.floor(x / P);
  for (let y = 0; y < H; y++)
    for (let x = 0; x < W; x++) sums[cellAt(model, y, x)] += values[cellAt(from, y, x)] / (H * W);
  return sums.map((sum) => sum * (spread ? from.N : N));
}

export function compareView(lab) {
  const { rows, columns } = lab.model,
    titles = ["A", "B", "B − A"];
  let cell = null; // of the model that is shown, B
  const panels = titles.map((title) => {
    const canvas = h("canvas", {
      class: "vfs-compare",
      width: 224,
      height: Math.round((224 * rows) / columns),
      role: "img",
      "aria-label": `${title}: map`,
    });
    const caption = h("figcaption", {}, title);
    for (const [type, at] of [
      ["pointermove", (event) => cellUnder(event, canvas, rows, columns)],
      ["pointerleave", () => null],
    ])
      canvas.addEventListener(type, (event) => {
        cell = at(event);
        redraw();
      });
    return { canvas, caption, node: h("figure", {}, caption, canvas) };
  });
  const note = h("p", { class: "vfs-caption", "aria-live": "polite" }),
    table = h("table", { class: "vfs-table" });
  const figures = h(
    "div",
    { class: "vfs-columns vfs-three", hidden: true },
    panels.map((panel) => panel.node),
  );
  const keep = button(
    "Keep what is shown as A",
    () => {
      const { image } = lab.state,
        shared = image < lab.images.labels.length && !lab.edited.has(image); // the reader's own picture is in no address
      lab.kept = taken(lab);
      lab.set({ kept: shared ? toHash({ ...lab.state, ...UNKEPT }).slice(1) || "image=0" : "" });
      redraw();
    },
    { class: "vfs-go" },
  );
  const swap = button("Forget A", () => {
    lab.kept = null;
    lab.set({ kept: "" });
    redraw();
  });
  // An address names what was kept: compute it again, beside what is shown.
  async function recall() {
    const { engine, models, images, names } = lab,
      other = Object.assign(makeLab(engine, models, images), { names });
    Object.assign(other.state, fromHash(lab.state.kept, models[0], images.labels.length, models.length));
    await other.run();
    lab.kept = taken(other);
    redraw();
  }
  // One click for two models: what is shown becomes A, the same with another model B.
  const pairs = lab.comparable.map((i) => [
    i,
    button(`Compare with: ${lab.names[i]}`, () => {
      keep.click();
      lab.set({ model: i });
    }),
  ]);
  const named =
    lab.names.length > 1
      ? choice(
          "Model",
          lab.names.map((name, i) => [i, name]),
          (value) => lab.set({ model: +value }),
        )
      : null;

  function paint({ canvas }, pixels, values, colour, model = lab.model) {
    const ctx = canvas.getContext("2d"),
      zoom = 224 / model.columns;
    ctx.imageSmoothingEnabled = false;
    ctx.filter = "grayscale(1)";
    ctx.drawImage(toCanvas(model, pixels), 0, 0, canvas.width, canvas.height);
    ctx.filter = "none";
    values.forEach((value, n) => {
      const [ink, alpha] = colour(value);
      ctx.globalAlpha = alpha;
      ctx.fillStyle = ink;
      ctx.fillRect((n % model.columns) * zoom, Math.floor(n / model.columns) * zoom, zoom, zoom);
    });
    ctx.globalAlpha = 1;
    const side = 224 / columns;
    if (cell !== null) frame(ctx, (cell % columns) * side, Math.floor(cell / columns) * side, side, side);
  }
  function draw() {
    if (!lab.result) return;
    const { kept } = lab;
    named?.set(lab.state.model);
    pairs.forEach(([i, node]) => (node.hidden = i === lab.state.model));
    figures.hidden = table.hidden = swap.hidden = !kept;
    if (!kept)
      return setText(
        note,
        "Then change anything: the picture, the method, a head, the model. B is always what is shown above.",
      );
    const now = taken(lab),
      { model } = lab,
      other = kept.model;
    const before = onGridOf(model, other, kept.values, kept.spread),
      finer = kept.spread ? other.N / model.N : 1; // one scale for both: per patch of B
    const largest = Math.max(kept.top * finer, now.top),
      difference = now.values.map((value, n) => value - before[n]),
      reach = Math.max(...difference.map(Math.abs)) || 1;
    const scaled = kept.values.map((value) => value * finer);
    paint(
      panels[0],
      kept.pixels,
      scaled,
      (value) => [colourOf("viridis", value, 0, largest), 0.82 * (value / largest)],
      other,
    );
    paint(panels[1], now.pixels, now.values, (value) => [
      colourOf("viridis", value, 0, largest),
      0.82 * (value / largest),
    ]);
    paint(panels[2], now.pixels, difference, (value) => [
      colourOf("redblue", value, -reach, reach),
      0.9 * Math.abs(value / reach),
    ]);
    setText(panels[0].caption, `A: ${kept.caption}`);
    setText(panels[1].caption, `B: ${now.caption}`);
    setText(
      panels[2].caption,
      `B − A, red is more in B: from ${number(Math.min(...difference), 4)} to ${number(Math.max(...difference), 4)}`,
    );
    const at = cell ?? Math.max(0, difference.map(Math.abs).indexOf(reach));
    setText(
      note,
      `${cell === null ? "The largest difference is at" : "At"} ${lab.tokenName(at + lab.model.prefix)}: ` +
        `A ${number(before[at], 4)}, B ${number(now.values[at], 4)}, difference ` +
        `${number(difference[at], 4)}. A and B share one colour scale, from 0 to ${number(largest, 4)}` +
        (other.N === model.N ? "." : `; A's ${other.N} patches are told in B's ${model.N}, by area.`),
    );
    const order = Array.from(now.probabilities.keys())
      .sort(
        (a, b) =>
          Math.max(now.probabilities[b], kept.probabilities[b]) - Math.max(now.probabilities[a], kept.probabilities[a]),
      )
      .slice(0, 5);
    const line = (k) =>
      h(
        "tr",
        {},
        [
          lab.model.classes[k],
          percent(kept.probabilities[k]),
          percent(now.probabilities[k]),
          `${number(100 * (now.probabilities[k] - kept.probabilities[k]), 1)} points`,
        ].map((text) => h("td", {}, text)),
      );
    refill(
      table,
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ["class", "A", "B", "B − A"].map((text) => h("th", { scope: "col" }, text)),
        ),
      ),
      h("tbody", {}, order.map(line)),
    );
  }
  const redraw = scheduler(draw);
  lab.on((changed) => {
    if (!changed.includes("hover") && !changed.includes("busy")) redraw();
  });
  draw();
  if (lab.state.kept && !lab.kept) recall();
  return h(
    "div",
    {},
    named?.node,
    h(
      "div",
      { class: "vfs-buttons" },
      keep,
      pairs.map(([, node]) => node),
      swap,
    ),
    figures,
    note,
    h("div", { class: "vfs-scroll" }, table),
  );
}
