// Who looks at whom: all tokens against all tokens for one block and head, linked with the picture both ways.
import { answerRow, meanOfHeads } from "./readings.js";
import { cellUnder, colours, frame, h, scheduler, setText, speaker, stepOnGrid } from "./tools.js";

export function matrixView(lab) {
  const { model } = lab,
    { T } = model,
    zoom = Math.max(2, Math.round(420 / T)),
    sr = speaker();
  const canvas = h("canvas", { class: "vfs-matrix", tabindex: 0, role: "application" }),
    caption = h("p", { class: "vfs-caption" });
  canvas.setAttribute("aria-label", "Attention of every token to every token. Arrow keys move, Enter pins the pair.");
  Object.assign(canvas, { width: T * zoom, height: T * zoom });
  let cell = null;

  const shownMatrix = () => {
    // what the picture shows, for every token
    const { state } = lab,
      block = lab.block(),
      at = lab.result.blocks[block];
    if (state.method === "rollout") return [lab.rollouts[block], `Rollout through blocks 0 to ${block}`];
    if (state.method === "relevance" && lab.relevance)
      return [lab.relevance[block], `Relevance for “${model.classes[lab.about()]}” through blocks 0 to ${block}`];
    const name = `Attention in block ${block}, ${state.head === "mean" ? "mean of its heads" : `head ${state.head}`}`;
    if (at.skipped) return [new Float32Array(T * T), `Block ${block} is switched off`];
    return [
      state.head === "mean"
        ? meanOfHeads(model, at.weights)
        : at.weights.subarray(state.head * T * T, (state.head + 1) * T * T),
      name,
    ];
  };
  function draw() {
    if (!lab.result) return;
    const [matrix, name] = shownMatrix(),
      table = colours("viridis"),
      ctx = canvas.getContext("2d"),
      small = h("canvas");
    Object.assign(small, { width: T, height: T });
    const data = small.getContext("2d").createImageData(T, T);
    for (let t = 0; t < T; t++) {
      const row = matrix.subarray(t * T, (t + 1) * T),
        largest = Math.max(...row) || 1;
      row.forEach((value, s) => {
        const at = 3 * Math.round((255 * value) / largest);
        data.data.set([table[at], table[at + 1], table[at + 2], 255], 4 * (t * T + s));
      });
    }
    small.getContext("2d").putImageData(data, 0, 0);
    ctx.imageSmoothingEnabled = false;
    ctx.drawImage(small, 0, 0, canvas.width, canvas.height);
    const [source, target] =
      cell === null ? [lab.hovered ?? lab.token(), lab.state.target] : [Math.floor(cell / T), cell % T];
    if (source >= 0) frame(ctx, 0, source * zoom, canvas.width, zoom, "#fff", Math.min(1, zoom / 8));
    if (target !== null) frame(ctx, target * zoom, 0, zoom, canvas.height, "#ffb347", Math.min(1, zoom / 8));
    const values = source < 0 ? answerRow(model, matrix) : matrix.subarray(source * T, (source + 1) * T),
      at = target ?? values.indexOf(Math.max(...values));
    const amount = lab.state.method === "relevance" ? values[at].toPrecision(3) : `${(100 * values[at]).toFixed(3)} %`;
    setText(
      caption,
      `${name}. From ${lab.tokenName(at)}, ${lab.tokenName(source)} takes ` +
        `${amount}${target === null ? ", the most of its row" : ""}. Each row has its own colour scale.`,
    );
    if (cell !== null) sr.say(caption.textContent);
  }
  const redraw = scheduler(draw),
    point = (next) => {
      cell = next;
      lab.hover(next === null ? null : Math.floor(next / T));
      redraw();
    };
  const pin = () => {
    if (cell !== null)
      lab.set({ token: Math.floor(cell / T) === lab.answerToken() ? null : Math.floor(cell / T), target: cell % T });
  };
  canvas.addEventListener("pointermove", (event) => point(cellUnder(event, canvas, T, T)));
  canvas.addEventListener("pointerleave", () => point(null));
  canvas.addEventListener("click", pin);
  canvas.addEventListener("blur", () => point(null));
  canvas.addEventListener("keydown", (event) => {
    const next = stepOnGrid(event.key, cell ?? Math.max(0, lab.token()) * T + (lab.state.target ?? 0), T, T);
    if (next !== null) point(next);
    else if (event.key === "Enter") pin();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  lab.on(redraw);
  draw();
  return h(
    "div",
    { class: "vfs-matrix-box" },
    h(
      "p",
      {},
      "Row: who looks. Column: what is looked at. A click pins the pair; the picture and “Every step in numbers” go along.",
    ),
    h("div", { class: "vfs-matrix-frame" }, h("span", { class: "vfs-quiet" }, "looks ↓   is looked at →"), canvas),
    caption,
    sr.node,
  );
}
