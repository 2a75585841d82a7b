// Follow one patch: the whole computation, stop by stop, with this picture's numbers; each number shows where it
// comes from.
import { button, colourOf, h, number, refill, scheduler, setText } from "./tools.js";
import { erf } from "./vit.js";

const DIGITS = 4,
  TERMS = 5;
const show = (x) => number(x, DIGITS);
const part = (array, start, length) => array.subarray(start, start + length);
const largestIndex = (values) => values.indexOf(Math.max(...values));

// Where a number comes from: `terms` [[name, factor, factor, stop, index]…] are multiplied and added, `plus` [[name,
// value]…] added.
function product(x, xStart, inputs, weight, row, name, stop) {
  return Array.from({ length: inputs }, (_, j) => [`${name}[${j}]`, x[xStart + j], weight[row * inputs + j], stop, j]);
}
function normed(x, start, width, i, gain, shift, eps) {
  const row = part(x, start, width),
    mean = row.reduce((a, b) => a + b, 0) / width;
  const variance = row.reduce((a, b) => a + (b - mean) ** 2, 0) / width;
  return (
    `(${show(row[i])} − mean ${show(mean)}) / √(variance ` +
    `${show(variance)} + ${eps}) × ${show(gain[i])} + ${show(shift[i])}`
  );
}

// The stops for one token, one that it looks at, one block and one head. Each: name, text, equation, values,
// explain(i).
export function followStops(lab, token, target, block, head) {
  const { model, result } = lab,
    { D, d, T, C, P, N, L, prefix, hidden: width, eps, weights: w, columns } = model;
  const b = result.blocks[block],
    name = `blocks.${block}`,
    n = token - prefix,
    at = token * D,
    sqrt = Math.sqrt(d);
  const who = lab.tokenName(token),
    whom = lab.tokenName(target),
    rowStart = (head * T + token) * T,
    before = block ? `what left block ${block - 1}` : "the tokens";
  const sum = (values) => values.reduce((a, b) => a + b, 0),
    stops = [];
  const stop = (key, title, lesson, text, equation, values, symbol, explain, mark) =>
    stops.push({ key, title, lesson, text, equation, values, symbol, explain, mark });

  if (n >= 0) {
    const bytes = lab.seen(),
      length = C * P * P;
    stop(
      "pixels",
      "Pixels",
      "patchify",
      `${who} is ${P} × ${P} pixels in ${C} ${C === 1 ? "channel" : "channels"}: ` +
        `${length} numbers, brought to the scale that the model was trained on.`,
      "p = (byte / 255 − mean) / std",
      part(result.patches, n * length, length),
      "p",
      (i) => {
        const c = Math.floor(i / (P * P)),
          y = Math.floor(n / columns) * P + Math.floor((i % (P * P)) / P),
          x = (n % columns) * P + (i % P);
        const byte = bytes[(y * model.W + x) * C + c];
        return {
          text:
            `pixel row ${y}, column ${x}, channel ${c}: (${byte} / 255 − ` +
            `${show(model.mean?.[c] ?? 0)}) / ${show(model.std?.[c] ?? 1)}`,
        };
      },
    );
    stop(
      "projection",
      "Projection",
      "PatchEmbedding",
      `${D} learned filters look at the patch; each gives one number of the token.`,
      "x = E p + bias",
      part(result.projected, n * D, D),
      "x",
      (i) => ({
        terms: product(result.patches, n * length, length, w["patch_embed.proj.weight"], i, "p", "pixels"),
        plus: [["bias", w["patch_embed.proj.bias"][i]]],
      }),
    );
  }
  const own =
    n >= 0
      ? part(result.projected, n * D, D)
      : token === 0 && model.pool === "cls"
        ? w.cls_token
        : part(w.reg_token, (token - (model.pool === "cls" ? 1 : 0)) * D, D);
  stop(
    "position",
    "+ position",
    "sincos_2d",
    n >= 0
      ? "The model adds a row of numbers that says where the patch stands."
      : `${who} has no pixels: it starts as the same learned numbers for every picture.`,
    "z = x + position",
    part(result.tokens, at, D),
    "z",
    (i) => ({
      plus: [
        [n >= 0 ? `x[${i}]` : "learned token", own[i], "projection", i],
        ["position", w.pos_embed ? w.pos_embed[at + i] : 0],
      ],
    }),
  );

  if (!b.skipped) {
    stop(
      "norm1",
      "LayerNorm",
      "EncoderBlock",
      `Block ${block} begins: ${before}, brought to mean 0 and spread 1.`,
      "x̂ = (z − mean) / √(variance + ε) · γ + β",
      part(b.norm1, at, D),
      "x̂",
      (i) => ({ text: normed(b.input, at, D, i, w[`${name}.norm1.weight`], w[`${name}.norm1.bias`], eps) }),
    );
    const qk = (which, t, stopKey, symbol, title, text) => {
      const values = part(b[which], (head * T + t) * d, d),
        offset = which === "k" ? D : 0,
        norms = w[`${name}.attn.${which}_norm.weight`];
      stop(
        stopKey,
        title,
        "attend",
        text,
        norms ? `${symbol} = LayerNorm(W x̂ + bias)` : `${symbol} = W x̂ + bias`,
        values,
        symbol,
        (i) =>
          norms
            ? { text: normed(b.raw[which], (head * T + t) * d, d, i, norms, w[`${name}.attn.${which}_norm.bias`], eps) }
            : {
                terms: product(
                  b.norm1,
                  t * D,
                  D,
                  w[`${name}.attn.qkv.weight`],
                  offset + head * d + i,
                  t === token ? "x̂" : "x̂′",
                  t === token ? "norm1" : null,
                ),
                plus: [["bias", w[`${name}.attn.qkv.bias`]?.[offset + head * d + i] ?? 0]],
              },
      );
    };
    qk("q", token, "query", "q", "Query", `What ${who} asks for, in head ${head}.`);
    qk("k", target, "key", "k", "Key", `What ${whom} offers to that question.`);
    const q = part(b.q, (head * T + token) * d, d),
      k = part(b.k, (head * T + target) * d, d),
      score = b.scores[rowStart + target];
    stop(
      "score",
      "Score",
      "attend",
      `Question times offer, added up and divided by √${d}: the score of this pair is ${show(score)}.`,
      "score = q · k / √d",
      q.map((value, i) => (value * k[i]) / sqrt),
      "q·k/√d",
      (i) => ({
        text:
          `q[${i}] × k[${i}] / √${d} = ${show(q[i])} × ${show(k[i])} / ` +
          `${show(sqrt)}; all ${d} such products add up to ${show(score)}`,
      }),
      "sum",
    );
    const scores = part(b.scores, rowStart, T),
      top = Math.max(...scores),
      total = sum(scores.map((x) => Math.exp(x - top)));
    const row = part(b.weights, rowStart, T);
    stop(
      "softmax",
      "Softmax",
      "attend",
      `The scores for all ${T} tokens become shares of 100 %. From ${whom}, ${who} takes ${show(row[target])}.`,
      "a = exp(score) / Σ exp(score)",
      row,
      "a",
      (s) => ({ text: `${lab.tokenName(s)}: exp(${show(scores[s])} − ${show(top)}) / ${show(total)}` }),
      target,
    );
    const silent = lab.isOff(block, head),
      mixed = part(b.heads, at + head * d, d);
    stop(
      "values",
      "Weighted values",
      "attend",
      silent
        ? "This head is switched off: its output is set to zero."
        : `${who} takes from every token its value, as much as its share says.`,
      "o = Σ a · v",
      mixed,
      "o",
      (i) =>
        silent
          ? { text: "switched off" }
          : {
              terms: Array.from({ length: T }, (_, s) => [
                lab.tokenName(s),
                row[s],
                b.v[(head * T + s) * d + i],
                "softmax",
                s,
              ]),
            },
    );
    stop(
      "joined",
      "Heads joined",
      "MultiHeadAttention",
      `The ${model.h} heads stand side by side and are mixed by one matrix.`,
      "y = W [o₀ … o_h] + bias",
      part(b.joined, at, D),
      "y",
      (i) => ({
        terms: product(b.heads, at, D, w[`${name}.attn.proj.weight`], i, "o", null),
        plus: [["bias", w[`${name}.attn.proj.bias`][i]]],
      }),
    );
    stop(
      "middle",
      "Added back",
      "EncoderBlock",
      "The result is added to what was there: the road past the layers stays open.",
      "z′ = z + y",
      part(b.middle, at, D),
      "z′",
      (i) => ({
        plus: [
          [`z[${i}]`, b.input[at + i]],
          [`y[${i}]`, b.joined[at + i], "joined", i],
        ],
      }),
    );
    stop(
      "mlp",
      "MLP",
      "Mlp",
      `Now the token thinks for itself: ${width} small detectors, each let through by GELU or not.`,
      "m = GELU(W LayerNorm(z′) + bias)",
      part(b.active, token * width, width),
      "m",
      (i) => {
        const x = b.hidden[token * width + i],
          share = (1 + erf(x / Math.SQRT2)) / 2;
        return {
          terms: product(b.norm2, at, D, w[`${name}.mlp.fc1.weight`], i, "LayerNorm(z′)", null),
          plus: [["bias", w[`${name}.mlp.fc1.bias`][i]]],
          then: `GELU(${show(x)}) = ${show(x)} × ${show(share)}`,
        };
      },
    );
    stop(
      "output",
      "Block done",
      "EncoderBlock",
      `What they found is added again: the token leaves block ` +
        `${block}${block + 1 < L ? ` and goes into block ${block + 1}` : ""}.`,
      "z″ = z′ + W m + bias",
      part(b.output, at, D),
      "z″",
      (i) => ({
        terms: product(b.active, token * width, width, w[`${name}.mlp.fc2.weight`], i, "m", "mlp"),
        plus: [
          ["bias", w[`${name}.mlp.fc2.bias`][i]],
          [`z′[${i}]`, b.middle[at + i], "middle", i],
        ],
      }),
    );
  }
  const cls = model.pool === "cls",
    last = L ? result.blocks[L - 1].output : result.tokens;
  stop(
    "readout",
    "Readout",
    "ViT",
    cls
      ? "After the last block only CLS is read, through one more LayerNorm. " +
          "All that this patch found out has to have gone through it."
      : `After the last block, and one more LayerNorm, the ${N} patches are averaged.`,
    cls ? "r = LayerNorm(z of CLS)" : "r = mean of LayerNorm(z)",
    result.pooled,
    "r",
    (i) =>
      cls
        ? { text: normed(last, 0, D, i, w["norm.weight"], w["norm.bias"], eps) }
        : { text: `mean of number ${i} of ${N} tokens; in this one it is ${show(result.final[at + i])}` },
  );
  stop(
    "logits",
    "Logits",
    "ViT",
    "One score for each class.",
    "logit = W r + bias",
    result.logits,
    "logit",
    (k) => ({
      name: model.classes[k],
      terms: product(result.pooled, 0, D, w["head.weight"], k, "r", "readout"),
      plus: [["bias", w["head.bias"][k]]],
    }),
    lab.about(),
  );
  const top = Math.max(...result.logits),
    total = sum(result.logits.map((x) => Math.exp(x - top)));
  stop(
    "answer",
    "Answer",
    "ViT",
    `Softmax once more: “${model.classes[lab.winner()]}” with ${show(result.probabilities[lab.winner()])}.`,
    "p = exp(logit) / Σ exp(logit)",
    result.probabilities,
    "p",
    (k) => ({ name: model.classes[k], text: `exp(${show(result.logits[k])} − ${show(top)}) / ${show(total)}` }),
    lab.winner(),
  );
  return stops;
}

// The numbers of a stop as a strip of colours, blue below and red above zero; pointing at one asks for its origin.
function strip(current, at, pick) {
  const { values } = current,
    count = values.length,
    across = Math.min(count, count > 256 ? 64 : 32),
    down = Math.ceil(count / across),
    side = 16;
  const canvas = h("canvas", {
    class: "vfs-strip-canvas",
    tabindex: 0,
    role: "slider",
    "aria-label": `${current.title}: number`,
    "aria-valuemin": 0,
    "aria-valuemax": count - 1,
  });
  Object.assign(canvas, { width: across * side, height: down * side });
  canvas.style.maxWidth = `${across * 18}px`;
  const ctx = canvas.getContext("2d"),
    reach = Math.max(...values.map(Math.abs)) || 1;
  values.forEach((value, i) => {
    ctx.fillStyle = colourOf("redblue", value, -reach, reach);
    ctx.fillRect((i % across) * side, Math.floor(i / across) * side, side - 1, side - 1);
  });
  ctx.lineWidth = 2;
  for (const [line, ink] of [
    [4, "#fff"],
    [2, "#000"],
  ]) {
    ctx.lineWidth = line;
    ctx.strokeStyle = ink;
    ctx.strokeRect((at % across) * side + 1, Math.floor(at / across) * side + 1, side - 3, side - 3);
  }
  canvas.setAttribute("aria-valuenow", at);
  canvas.setAttribute("aria-valuetext", `number ${at}: ${show(values[at])}`);
  const under = (event) => {
    const box = canvas.getBoundingClientRect(),
      x = Math.floor(((event.clientX - box.left) / box.width) * across),
      y = Math.floor(((event.clientY - box.top) / box.height) * down);
    return x >= 0 && x < across && y >= 0 && y * across + x < count ? y * across + x : null;
  };
  canvas.addEventListener("pointermove", (event) => {
    const i = under(event);
    if (i !== null && i !== at) pick(i);
  });
  canvas.addEventListener("keydown", (event) => {
    const next = at + ({ ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across }[event.key] ?? NaN);
    if (!(next >= 0 && next < count)) return;
    event.preventDefault();
    event.stopPropagation();
    pick(next);
  });
  return canvas;
}

// The origin of one number: its largest products, the rest in one line, and what is added.
function origin(current, i, go) {
  const { text, terms = [], plus = [], name, then } = current.explain(i),
    value = current.values[i];
  const rows = [],
    link = (label, stop, index) => (stop ? button(label, () => go(stop, index), { class: "vfs-link" }) : label);
  const row = (label, sum, kind) => rows.push(h("tr", { class: kind ?? "" }, h("td", {}, label), h("td", {}, sum)));
  const sorted = [...terms].sort((a, b) => Math.abs(b[1] * b[2]) - Math.abs(a[1] * a[2])),
    rest = sorted.slice(TERMS);
  for (const [label, a, b, stop, index] of sorted.slice(0, TERMS))
    row(h("span", {}, link(label, stop, index), ` = ${show(a)}, times ${show(b)}`), show(a * b));
  if (rest.length) row(`${rest.length} smaller products`, show(rest.reduce((sum, [, a, b]) => sum + a * b, 0)));
  for (const [label, x, stop, index] of plus) row(h("span", {}, "+ ", link(label, stop, index)), show(x));
  if (text) row(text, "");
  if (then) row(then, "");
  const head = `${current.symbol}[${i}]${name ? ` (${name})` : ""}`;
  row(h("b", {}, `${head} =`), h("b", { class: "vfs-total" }, show(value)), "vfs-sum");
  return h(
    "table",
    { class: "vfs-table vfs-origin" },
    h("caption", {}, `Where ${head} comes from`),
    h("tbody", {}, rows),
  );
}

export function followView(lab, lessons = {}) {
  const body = h("div", { class: "vfs-follow-body" }),
    path = h("div", { class: "vfs-path", role: "group", "aria-label": "Stops" });
  let key = "pixels",
    index = 0,
    stops = [];
  const followed = () => {
    // the token that looks, or a patch in the middle while the answer's token is chosen
    const { prefix, rows, columns } = lab.model;
    return lab.state.token === null || lab.state.token < 0
      ? prefix + Math.floor(rows / 2) * columns + Math.floor(columns / 2)
      : lab.state.token;
  };
  const head = () => (lab.state.head === "mean" ? 0 : lab.state.head);
  function go(next, number = 0) {
    key = next;
    index = number;
    draw();
  }
  function draw() {
    if (!lab.result) return;
    const { model } = lab,
      token = followed(),
      block = lab.block(),
      at = lab.result.blocks[block],
      { T } = model;
    const target = lab.state.target ?? (at.skipped ? 0 : largestIndex(part(at.weights, (head() * T + token) * T, T)));
    stops = followStops(lab, token, target, block, head());
    const place = Math.max(
        0,
        stops.findIndex((stop) => stop.key === key),
      ),
      current = stops[place];
    key = current.key;
    index = Math.min(index, current.values.length - 1);
    refill(
      path,
      stops.map((stop) =>
        button(stop.title, () => go(stop.key, typeof stop.mark === "number" ? stop.mark : 0), {
          "aria-pressed": String(stop === current),
        }),
      ),
    );
    const step = (by) => {
      const next = stops[place + by];
      if (next) go(next.key, typeof next.mark === "number" ? next.mark : 0);
    };
    const onward =
      current.key === "output" && block + 1 < model.L
        ? button(
            `Into block ${block + 1} →`,
            () => {
              key = "norm1";
              lab.set({ block: block + 1 });
            },
            { class: "vfs-go" },
          )
        : null;
    const lesson = lessons[current.lesson];
    refill(
      body,
      h("h4", {}, `${place + 1} of ${stops.length}: ${current.title}`),
      h("p", {}, current.text),
      h(
        "p",
        { class: "vfs-equation" },
        current.equation,
        lesson ? h("a", { href: lesson, class: "vfs-lesson" }, "the lesson that builds it") : null,
      ),
      strip(current, index, (i) => go(key, i)),
      h(
        "p",
        { class: "vfs-quiet" },
        `${current.values.length} numbers, blue below zero, red above; ` +
          `point at one (or use the arrow keys) to see where it comes from.`,
      ),
      origin(current, index, go),
      h(
        "div",
        { class: "vfs-buttons" },
        button("← Back", () => step(-1), { disabled: place === 0 }),
        onward,
        button("Next →", () => step(1), { disabled: place === stops.length - 1, class: onward ? "" : "vfs-go" }),
      ),
    );
    setText(
      chosen,
      `Following ${lab.tokenName(token)}, which looks at ${lab.tokenName(target)}, in ` +
        `block ${block}, head ${head()}. Choose others in the picture and on the wall.`,
    );
  }
  const chosen = h("p", {}),
    redraw = scheduler(draw);
  lab.on((changed) => {
    if (!changed.includes("hover") && !changed.includes("busy")) redraw();
  });
  draw();
  return h("div", { class: "vfs-follow" }, chosen, path, body);
}
