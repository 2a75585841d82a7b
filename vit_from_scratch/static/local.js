// A small model runs beside the notebook: its weights come from Python once, and from then on the page itself answers
// which heads look where, what happens without some of them, and which patches speak for a class.
import { logitLens, rollout } from "./readings.js";
import { bytes } from "./tools.js";
import { normalise, softmaxRows } from "./vit.js";
import { makeEngine } from "./worker.js";

const PAUSE = 500, // milliseconds between two parts: Jupyter drops what comes faster than 1 MB a second
  PATIENCE = 5000, // before a part that did not come is asked for again
  MOST_FRAMES = 16; // kept

// Ask Python for the model part by part; promises the last message with all bytes together.
export function fetchModel(host) {
  const parts = [];
  let timer,
    patience = PATIENCE;
  const ask = (part) => {
    host.ask({ type: "model", part });
    timer = setTimeout(() => host.live && ask(part), patience);
    patience *= 2;
  };
  return new Promise((done) => {
    host.on("msg:custom", (message, buffers) => {
      if (message.type !== "model" || parts[message.part]) return;
      parts[message.part] = bytes(buffers[0]);
      patience = PATIENCE;
      clearTimeout(timer);
      const missing = Array.from({ length: message.parts }, (_, i) => i).find((i) => !parts[i]);
      if (missing !== undefined) timer = setTimeout(() => ask(missing), PAUSE);
      else done({ ...message, bytes: join(parts) });
    });
    ask(0);
  });
}

// Typed arrays of one kind, one after the other.
function join(arrays) {
  const all = new arrays[0].constructor(arrays.reduce((sum, part) => sum + part.length, 0));
  arrays.reduce((at, part) => (all.set(part, at), at + part.length), 0);
  return all;
}

const unscaled = (rows) => new Float32Array(rows).fill(255); // the explorer divides by it: the numbers stay what they are

// Depth by depth the head's probabilities at every token and, last, in the answer: (L + 1, T + 1, K).
function lensOf(model, result) {
  const { T, K, N, prefix, pool } = model;
  const withAnswer = (logits) => {
    const answer = new Float32Array(K);
    if (pool === "cls") answer.set(logits.subarray(0, K));
    else for (let t = prefix; t < T; t++) for (let k = 0; k < K; k++) answer[k] += logits[t * K + k] / N;
    return softmaxRows(join([logits, answer]), T + 1, K);
  };
  const prob = join(logitLens(model, result).map(withAnswer)),
    best = new Uint16Array(prob.length / K),
    bestProb = new Float32Array(prob.length / K);
  best.forEach((_, row) => {
    const values = prob.subarray(row * K, (row + 1) * K);
    bestProb[row] = Math.max(...values);
    best[row] = values.indexOf(bestProb[row]);
  });
  return { best, bestProb, prob, classes: Array.from({ length: K }, (_, k) => k) };
}

// `sent`: { packed, labels, pixels: { kind, start }, bytes } from Python. What it gives has the form of Python's frames.
export function localFrames(sent, bars = 6) {
  const engine = makeEngine(`(${vitModule})().serveRequests(self);`), // the model's script, put before this one
    { start, kind } = sent.pixels,
    model = engine.add(0, { ...sent.packed, bytes: sent.bytes.slice(0, start) }),
    { C, H, W, T, L, h: heads } = model,
    size = C * H * W;
  const shelf = sent.bytes.slice(start),
    all = kind === "uint8" ? shelf : new Float32Array(shelf.buffer),
    pictures = sent.labels.map((_, i) => all.subarray(i * size, (i + 1) * size)),
    frames = new Map();
  const rgb = (values) => {
    const out = new Uint8Array(3 * H * W);
    for (let i = 0; i < H * W; i++) for (let c = 0; c < 3; c++) out[3 * i + c] = Math.round(values[i * C + (C >= 3 ? c : 0)]);
    return out;
  };
  const ask = (index, off, target) => engine.ask(0, { pixels: normalise(model, pictures[index]), options: { off }, target });

  async function compute(index, ablated) {
    const { result } = await ask(index, ablated, -1),
      label = sent.labels[index] ?? -1;
    const order = Array.from(result.probabilities.keys()).sort((a, b) => result.probabilities[b] - result.probabilities[a]);
    const shown = order.slice(0, bars);
    if (label >= 0 && !shown.includes(label)) shown.push(label);
    const whole = ablated.length ? (await ask(index, [], -1)).result.probabilities : null;
    return {
      ...{ index, ablated, label, exact: true, rgb: rgb(pictures[index]), relevance: {} },
      probabilities: shown.map((k) => [k, result.probabilities[k]]),
      baseline: whole ? shown.map((k) => [k, whole[k]]) : [],
      attention: join(result.blocks.map((block) => block.weights)),
      scale: unscaled(L * heads * T),
      rollout: join(rollout(model, result)),
      rolloutScale: unscaled(L * T),
      lens: lensOf(model, result),
    };
  }
  return {
    has: (index) => pictures[index] !== undefined,
    add: (index, values) => (pictures[index] = kind === "uint8" ? values : new Float32Array(values.slice().buffer)),
    // Promises a frame; one that was computed before comes from memory.
    frame(index, ablated) {
      const key = `${index}/${JSON.stringify(ablated)}`;
      if (!frames.has(key)) frames.set(key, compute(index, ablated));
      if (frames.size > MOST_FRAMES) frames.delete(frames.keys().next().value);
      return frames.get(key);
    },
    async relevance(index, ablated, target) {
      const matrices = (await ask(index, ablated, target)).relevance;
      return { q: matrices[L - 1], scale: unscaled(T) };
    },
  };
}
