// A slider over training: the model as it was at a few moments. Picture, wall, lens and answer above follow it.
import { cellUnder, colourOf, frame, h, number, percent, refill, scheduler, setText, slider, svg } from "./tools.js";

// Cosine similarity of one patch's position embedding with those of all patches.
export function positionSimilarity(model, patch) {
  const { N, D, prefix, weights } = model,
    table = weights.pos_embed,
    length = (n) => Math.sqrt(inner(n, n));
  const inner = (a, b) => {
    let sum = 0;
    for (let i = 0; i < D; i++) sum += table[(prefix + a) * D + i] * table[(prefix + b) * D + i];
    return sum;
  };
  return Float32Array.from({ length: N }, (_, n) => inner(patch, n) / (length(patch) * length(n) || 1));
}

// `training`: { first, epochs, train_loss, valid_loss, valid_accuracy }, one number for each snapshot; `first` is the
// place of the earliest among the models.
export function trainingView(lab, training) {
  const { first, epochs } = training,
    { rows, columns, prefix } = lab.model,
    last = epochs.length - 1;
  const now = () => Math.max(0, Math.min(last, lab.state.model - first));
  const range = slider(
    "Epoch",
    0,
    last,
    1,
    (i) => (epochs[i] ? `after ${+epochs[i].toPrecision(3)}` : "before the first"),
    (i) => lab.set({ model: first + i }),
  );
  const charts = h("div", { class: "vfs-charts" }),
    caption = h("p", { class: "vfs-caption" });
  const canvas = h("canvas", {
    class: "vfs-compare",
    width: 224,
    height: Math.round((224 * rows) / columns),
    role: "img",
    "aria-label": "Similarity of the positions",
  });
  const figure = h(
    "figure",
    {},
    h("figcaption", {}, "How similar the chosen patch's position is to all others: blue −1, red 1"),
    canvas,
  );
  let cell = null;
  canvas.addEventListener("pointermove", (event) => {
    cell = cellUnder(event, canvas, rows, columns);
    redraw();
  });
  canvas.addEventListener("pointerleave", () => {
    cell = null;
    redraw();
  });

  function chart(title, series, top, show) {
    const width = 320,
      height = 150,
      left = 40,
      x = (i) => left + (epochs[i] / (epochs[last] || 1)) * (width - left - 14),
      y = (v) => 26 + (1 - v / top) * (height - 50);
    const node = svg("svg", {
      viewBox: `0 0 ${width} ${height}`,
      class: "vfs-chart",
      role: "img",
      "aria-label":
        `${title}: ` +
        `${series.map(({ name, values }) => `${name} ${values[now()] == null ? "not known" : show(values[now()])}`).join(", ")}`,
    });
    node.append(svg("text", { x: left, y: 14, class: "vfs-chart-title" }, title));
    for (const v of [0, top / 2, top])
      node.append(
        svg("line", { x1: left, x2: width - 14, y1: y(v), y2: y(v), class: "vfs-gridline" }),
        svg("text", { x: left - 6, y: y(v) + 4, "text-anchor": "end" }, show(v)),
      );
    node.append(svg("line", { x1: x(now()), x2: x(now()), y1: 26, y2: height - 24, class: "vfs-now" }));
    series.forEach(({ values, dash }) => {
      const known = [...values.keys()].filter((i) => values[i] != null);
      node.append(
        svg("path", {
          d: known.map((i, k) => `${k ? "L" : "M"}${x(i).toFixed(1)} ${y(values[i]).toFixed(1)}`).join(""),
          fill: "none",
          stroke: "currentColor",
          "stroke-width": 2,
          ...(dash ? { "stroke-dasharray": "4 4" } : {}),
        }),
      );
      if (values[now()] != null)
        node.append(svg("circle", { cx: x(now()), cy: y(values[now()]), r: 4.5, fill: "var(--accent)" }));
    });
    node.append(
      svg("text", { x: left, y: height - 6 }, "0"),
      svg("text", { x: width - 14, y: height - 6, "text-anchor": "end" }, `${+epochs[last].toPrecision(3)} epochs`),
    );
    return node;
  }
  function draw() {
    range.set(now());
    const at = now(),
      { model } = lab,
      losses = [...training.train_loss, ...training.valid_loss].filter((x) => x != null);
    refill(
      charts,
      chart(
        "Loss (dashed: validation)",
        [
          { name: "training", values: training.train_loss },
          { name: "validation", values: training.valid_loss, dash: true },
        ],
        Math.max(0.1, ...losses),
        (v) => number(v, 2),
      ),
      chart(
        "Validation accuracy",
        [{ name: "accuracy", values: training.valid_accuracy }],
        1,
        (v) => `${Math.round(100 * v)} %`,
      ),
    );
    const inside = lab.state.model >= first && lab.state.model <= first + last;
    const patch =
      cell ??
      Math.max(
        0,
        (lab.token() < prefix ? prefix + Math.floor(rows / 2) * columns + Math.floor(columns / 2) : lab.token()) -
          prefix,
      );
    figure.hidden = !model.weights.pos_embed;
    if (model.weights.pos_embed) {
      const values = positionSimilarity(model, patch),
        ctx = canvas.getContext("2d"),
        side = 224 / columns;
      values.forEach((value, n) => {
        ctx.fillStyle = colourOf("redblue", value, -1, 1);
        ctx.fillRect((n % columns) * side, Math.floor(n / columns) * side, side - 1, side - 1);
      });
      frame(ctx, (patch % columns) * side, Math.floor(patch / columns) * side, side, side);
    }
    const accuracy = training.valid_accuracy[at];
    setText(
      caption,
      inside
        ? `${lab.names[lab.state.model][0].toUpperCase()}${lab.names[lab.state.model].slice(1)}${accuracy == null ? "" : `: ${percent(accuracy)} of the validation images right`}. ` +
            `` +
            `` +
            `` +
            `` +
            `` +
            `` +
            `` +
            `` +
            `` +
            `` +
            `` +
            `Everything above is computed with these weights.`
        : "Move the slider: everything above is then computed with the weights of that moment.",
    );
  }
  const redraw = scheduler(draw);
  lab.on((changed) => {
    if (!changed.includes("hover") && !changed.includes("busy")) redraw();
  });
  draw();
  return h(
    "div",
    { class: "vfs-training" },
    h(
      "p",
      {},
      "The weights of one run, kept at a few moments. Drag: the " +
        "picture, the wall, the lens and the answer replay the training.",
    ),
    range.node,
    caption,
    h("div", { class: "vfs-replay" }, charts, figure),
  );
}
