// The state of a live explorer: which picture, changed how, read by which model with what switched off, and what came
// out.
import { normalise } from "./vit.js";
import { answerRow, logitLens, meanOfHeads, rollout } from "./readings.js";

export const START = {
  model: 0,
  image: 0,
  token: null,
  target: null,
  block: null,
  head: "mean",
  method: "attention",
  about: -1,
  off: [],
  skip: [],
  hidden: [],
  order: 0,
  tool: "look",
  tour: 0,
  tab: 0,
  kept: "",
  photo: false, // the picture without a map on it
  switching: false, // a click on the wall switches off instead of choosing
};
const PATIENCE_FOR_NUMBERS = 150; // milliseconds that numbers of the same picture may stay while new ones are computed
const UNNAMED = ["photo", "switching"]; // not in the address

// A permutation of n things that depends on its number alone; number 0 is the order of the picture.
export function orderOf(serial, n) {
  const order = Array.from({ length: n }, (_, i) => i);
  let seed = serial;
  for (let i = n - 1; serial && i > 0; i--) {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    const j = Math.floor((seed / 2147483648) * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

// Pixels (H, W, C) as the model gets them: patches in another order, some painted over with the mean colour.
export function changedPixels(model, pixels, hidden, serial) {
  const { C, W, P, N, columns } = model,
    out = pixels.slice(),
    order = orderOf(serial, N);
  const grey = Array.from({ length: C }, (_, c) => Math.round(255 * (model.mean?.[c] ?? 0.5)));
  for (let n = 0; n < N; n++) {
    const from = order[n],
      covered = hidden.includes(n);
    for (let y = 0; y < P; y++)
      for (let x = 0; x < P; x++) {
        const to = ((Math.floor(n / columns) * P + y) * W + (n % columns) * P + x) * C;
        const source = ((Math.floor(from / columns) * P + y) * W + (from % columns) * P + x) * C;
        for (let c = 0; c < C; c++) out[to + c] = covered ? grey[c] : pixels[source + c];
      }
  }
  return out;
}

export function makeLab(engine, models, images) {
  const listeners = [],
    { C, H, W } = models[0],
    size = C * H * W;
  const lab = { engine, models, images, state: { ...START }, result: null, busy: false, own: [], edited: new Map() };
  let asked = 0,
    since = 0, // when the numbers shown went out of date
    strokes = 0,
    shown = { picture: "", key: "" }; // what the numbers shown belong to

  const emit = (changed) => listeners.forEach((listener) => listener(changed));
  lab.on = (listener) => listeners.push(listener);
  lab.forgetListeners = () => listeners.splice(0);
  lab.show = emit;
  Object.defineProperty(lab, "model", { get: () => models[lab.state.model] });
  Object.defineProperty(lab, "count", { get: () => images.labels.length + lab.own.length });

  // Pictures: those that came along, then the reader's own; drawing changes a copy.
  lab.original = (index) =>
    index < images.labels.length
      ? images.bytes.subarray(index * size, (index + 1) * size)
      : lab.own[index - images.labels.length];
  lab.picture = (index = lab.state.image) => lab.edited.get(index) ?? lab.original(index);
  lab.seen = () => changedPixels(lab.model, lab.picture(), lab.state.hidden, lab.state.order);
  lab.label = (index = lab.state.image) => images.labels[index] ?? -1;
  lab.addPicture = (pixels) => {
    lab.own.push(pixels);
    lab.set({ image: lab.count - 1, hidden: [], order: 0 });
  };
  lab.paint = (pixels) => {
    // null: as it was
    if (pixels) lab.edited.set(lab.state.image, pixels);
    else lab.edited.delete(lab.state.image);
    strokes += 1;
    emit(["pixels"]);
    lab.run();
  };

  // Tokens: the class token and registers first, then the patches; −1 is the mean of all patches.
  lab.answerToken = () => (lab.model.pool === "cls" ? 0 : -1);
  lab.token = () => lab.state.token ?? lab.answerToken();
  lab.block = () => Math.min(lab.state.block ?? lab.model.L - 1, lab.model.L - 1);
  lab.tokenName = (token) => {
    const { prefix, columns, pool } = lab.model;
    if (token < 0) return "mean of all patches";
    if (token >= prefix)
      return (
        `patch ${token - prefix} (row ${Math.floor((token - prefix) / columns)}, ` +
        `column ${(token - prefix) % columns})`
      );
    return pool === "cls" && token === 0 ? "CLS" : `register ${token - (pool === "cls" ? 1 : 0) + 1}`;
  };
  lab.isOff = (block, head) => lab.state.off.some((pair) => pair[0] === block && pair[1] === head);
  lab.winner = (result = lab.result) => result.logits.indexOf(Math.max(...result.logits));
  lab.about = () => (lab.state.about >= 0 ? lab.state.about : lab.winner());

  // One number per token (T): where `token` looks, or what the lens says of each.
  lab.values = (change = {}) => {
    const { T, K } = lab.model,
      { token, block, head, method } = {
        token: lab.token(),
        block: lab.block(),
        head: lab.state.head,
        method: lab.state.method,
        ...change,
      };
    const at = lab.result.blocks[block],
      row = (matrix) => (token < 0 ? answerRow(lab.model, matrix) : matrix.slice(token * T, (token + 1) * T));
    if (method === "rollout") return row(lab.rollouts[block]);
    if (method === "relevance") return lab.relevance ? row(lab.relevance[block]) : new Float32Array(T);
    if (method === "lens") return Float32Array.from({ length: T }, (_, t) => lab.lensAt(block + 1, t)[lab.about() % K]);
    if (at.skipped) return new Float32Array(T);
    return row(
      head === "mean" ? meanOfHeads(lab.model, at.weights) : at.weights.subarray(head * T * T, (head + 1) * T * T),
    );
  };
  // Probabilities that the head gives after `depth` blocks if it reads `token`.
  lab.lensAt = (depth, token) => {
    const { K, N, prefix, T } = lab.model,
      all = lab.lens[depth],
      logits = new Float32Array(K);
    for (let t = token < 0 ? prefix : token; t < (token < 0 ? T : token + 1); t++)
      for (let k = 0; k < K; k++) logits[k] += all[t * K + k] / (token < 0 ? N : 1);
    const largest = Math.max(...logits),
      powers = logits.map((x) => Math.exp(x - largest));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((x) => x / sum);
  };

  // Change the state; what the model has to compute again is computed again.
  lab.set = (changes) => {
    const changed = Object.keys(changes).filter(
      (key) => JSON.stringify(lab.state[key]) !== JSON.stringify(changes[key]),
    );
    if (!changed.length) return;
    Object.assign(lab.state, changes);
    emit(changed);
    const compute = ["model", "image", "off", "skip", "hidden", "order"],
      asks = ["method", "about"];
    if (changed.some((key) => compute.includes(key))) lab.run();
    else if (changed.some((key) => asks.includes(key)) && lab.state.method === "relevance") lab.run();
  };
  const pictureKey = () => `${lab.state.model}/${lab.state.image}`;
  const stateKey = () => {
    const { off, skip, hidden, order } = lab.state;
    return JSON.stringify([pictureKey(), strokes, off, skip, hidden, order]);
  };
  // Whether the numbers on show may stand beside the picture on show.
  lab.current = () =>
    lab.result !== null &&
    (shown.key === stateKey() ||
      (shown.picture === pictureKey() && performance.now() - since < PATIENCE_FOR_NUMBERS));
  // What stands where numbers will be.
  lab.waiting = () => (lab.result ? "Computing …" : `Loading the model${lab.size ? ` (${lab.size})` : ""} …`);
  // Ask for the numbers of the state as it is now; an answer that is out of date when it comes is dropped.
  lab.run = async () => {
    const serial = ++asked,
      { state, model } = lab,
      wanted = state.method === "relevance",
      now = { picture: pictureKey(), key: stateKey() };
    if (!lab.busy) since = performance.now();
    lab.busy = true;
    emit(["busy"]);
    setTimeout(() => lab.busy && serial === asked && emit(["busy"]), PATIENCE_FOR_NUMBERS + 10);
    const options = { off: state.off.map((pair) => [...pair]), skip: [...state.skip] };
    const request = (target) => lab.engine.ask(state.model, { pixels: normalise(model, lab.seen()), options, target });
    const about = state.about < 0 ? "winner" : state.about,
      answer = await request(wanted ? about : -1);
    if (serial !== asked) return;
    shown = now;
    const key = now.picture,
      plain = !options.off.length && !options.skip.length && !state.hidden.length && !state.order;
    Object.assign(lab, {
      busy: false,
      result: answer.result,
      relevance: answer.relevance,
      milliseconds: answer.milliseconds,
    });
    Object.assign(lab, { rollouts: rollout(model, answer.result), lens: logitLens(model, answer.result) });
    if (lab.before?.key !== key) lab.before = null;
    if (plain && !lab.edited.has(state.image)) lab.before = { key, probabilities: answer.result.probabilities };
    emit(["result"]);
    if (lab.before) return;
    const first = await lab.engine.ask(state.model, {
      pixels: normalise(model, lab.original(state.image)),
      options: {},
      target: -1,
    });
    if (serial !== asked) return;
    lab.before = { key, probabilities: first.result.probabilities };
    emit(["result"]);
  };
  lab.ready = () => !lab.busy && lab.result !== null;
  return lab;
}

// ------------------------------------------------------------------------------------------------ the address
// The state as `#image=3&block=5&head=2`, so that a link leads to what somebody saw.
export function toHash(state, start = START) {
  const parts = [],
    pairs = (list) => list.map((pair) => [pair].flat().join(".")).join("_");
  for (const key of Object.keys(START)) {
    const value = state[key];
    if (JSON.stringify(value) === JSON.stringify(start[key]) || UNNAMED.includes(key)) continue;
    parts.push(`${key}=${Array.isArray(value) ? pairs(value) : encodeURIComponent(value)}`);
  }
  return parts.length ? `#${parts.join("&")}` : "";
}

// What of an address can be used with this model; the rest is ignored.
export function fromHash(hash, model, count, models = 1) {
  const given = Object.fromEntries(new URLSearchParams(hash.replace(/^#/, ""))),
    state = {};
  const whole = (text, low, high) => (/^-?\d+$/.test(text) && +text >= low && +text <= high ? +text : undefined);
  const list = (text, most) =>
    [...new Set(text.split("_").map((part) => whole(part, 0, most - 1)))].filter((x) => x !== undefined);
  const read = {
    image: (text) => whole(text, 0, count - 1),
    token: (text) => whole(text, model.pool === "cls" ? 0 : -1, model.T - 1),
    target: (text) => whole(text, 0, model.T - 1),
    block: (text) => whole(text, 0, model.L - 1),
    head: (text) => (text === "mean" ? text : whole(text, 0, model.h - 1)),
    about: (text) => whole(text, 0, model.K - 1),
    method: (text) => (["attention", "rollout", "relevance", "lens"].includes(text) ? text : undefined),
    skip: (text) => list(text, model.L),
    hidden: (text) => list(text, model.N),
    order: (text) => whole(text, 0, 2147483647),
    tour: (text) => whole(text, 0, 9), // one after the last: the tour is finished
    tab: (text) => whole(text, 0, 3),
    tool: (text) => (["look", "hide", "draw", "erase"].includes(text) ? text : undefined),
    kept: (text) => text,
    model: (text) => whole(text, 0, models - 1),
    off: (text) =>
      text
        .split("_")
        .map((pair) => pair.split(".").map((x) => whole(x, 0, 1e6)))
        .filter(([b, k]) => b < model.L && k < model.h),
  };
  for (const [key, value] of Object.entries(given)) {
    const found = read[key]?.(value);
    if (found !== undefined) state[key] = found;
  }
  return state;
}
