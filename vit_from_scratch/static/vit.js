// The forward pass of vit_from_scratch's Vision Transformer in plain JavaScript: the same sums as the Python beside
// it in nbs/workshop/page.ipynb, every intermediate number kept. Matrices are Float32Array, row by row; the names are
// those of the Python: T tokens, D width, h heads, d head width, N patches of P × P pixels, K classes.

// ------------------------------------------------------------------------------------------------ weights
export function decodeBase64(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

export function halfToFloat(bits) {
  // IEEE 754 binary16: one sign bit, five of exponent, ten of fraction
  const sign = bits & 0x8000 ? -1 : 1,
    exponent = (bits >> 10) & 31,
    fraction = bits & 1023;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return exponent === 31 ? (fraction ? NaN : sign * Infinity) : sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

// A packed model holds `arguments` (those of the Python ViT), `tensors` [[name, shape, kind, first byte], …] and
// `bytes`.
export function unpackModel(packed) {
  const bytes = typeof packed.bytes === "string" ? decodeBase64(packed.bytes) : packed.bytes,
    weights = {};
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const half = Float32Array.from({ length: 65536 }, (_, bits) => halfToFloat(bits));
  for (const [name, shape, kind, start] of packed.tensors) {
    const size = shape.reduce((product, side) => product * side, 1),
      values = new Float32Array(size);
    if (kind === "float32") for (let i = 0; i < size; i++) values[i] = view.getFloat32(start + 4 * i, true);
    else if (kind === "float16") for (let i = 0; i < size; i++) values[i] = half[view.getUint16(start + 2 * i, true)];
    else {
      // int8: one scale per row stands before the rows
      const rows = shape[0],
        width = size / rows;
      for (let i = 0; i < size; i++) {
        const scale = view.getFloat32(start + 4 * Math.floor(i / width), true);
        values[i] = view.getInt8(start + 4 * rows + i) * scale;
      }
    }
    weights[name] = values;
  }
  return describeModel({ ...packed, bytes: null }, weights);
}

// The same model before training: matrices and tokens drawn from N(0, std) cut at two deviations, biases zero, norms
// one.
export function freshModel(model, seed) {
  const weights = {};
  let state = seed;
  const uniform = () => (state = (state * 1103515245 + 12345) % 2147483648) / 2147483648;
  const normal = () => {
    const value = Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
    return Math.abs(value) <= 2 ? value : normal();
  };
  for (const [name, shape] of model.tensors) {
    const old = model.weights[name],
      patches = name === "patch_embed.proj.weight";
    const std = (patches && model.arguments.patch_init_std) || 0.02;
    const fixed = name === "pos_embed" && model.arguments.pos_embed === "sincos";
    if (fixed) weights[name] = old;
    else if (shape.length === 1) weights[name] = old.map(() => (name.endsWith("bias") ? 0 : 1));
    else weights[name] = old.map(() => std * normal());
  }
  return { ...model, weights };
}

function describeModel(packed, weights) {
  const a = packed.arguments,
    [height, width] = [a.image_size].flat().length === 2 ? a.image_size : [a.image_size, a.image_size];
  const rows = height / a.patch_size,
    columns = width / a.patch_size,
    prefix = (a.pool === "cls" ? 1 : 0) + a.num_registers;
  const shape = { C: a.in_channels, H: height, W: width, P: a.patch_size, rows, columns, N: rows * columns, prefix };
  Object.assign(shape, { T: prefix + rows * columns, D: a.embed_dim, h: a.num_heads, d: a.embed_dim / a.num_heads });
  Object.assign(shape, { L: a.depth, K: a.num_classes, hidden: Math.floor(a.mlp_ratio * a.embed_dim) });
  return { ...packed, ...shape, pool: a.pool, eps: a.norm_eps, weights };
}

// ------------------------------------------------------------------------------------------------ pixels
// Bytes (H, W, C) as a canvas has them, to the normalised floats (C, H, W) that the model reads.
export function normalise(model, bytes) {
  const { C, H, W } = model,
    out = new Float32Array(C * H * W);
  for (let c = 0; c < C; c++) {
    const mean = model.mean?.[c] ?? 0,
      std = model.std?.[c] ?? 1;
    for (let i = 0; i < H * W; i++) out[c * H * W + i] = (bytes[i * C + c] / 255 - mean) / std;
  }
  return out;
}

// (C, H, W) to (N, C·P·P): patches in reading order, each one flattened channel by channel.
export function patchify(model, pixels) {
  const { C, H, W, P, columns, N } = model,
    length = C * P * P,
    out = new Float32Array(N * length);
  for (let n = 0; n < N; n++) {
    const top = Math.floor(n / columns) * P,
      left = (n % columns) * P;
    for (let c = 0; c < C; c++)
      for (let y = 0; y < P; y++)
        for (let x = 0; x < P; x++) out[n * length + (c * P + y) * P + x] = pixels[(c * H + top + y) * W + left + x];
  }
  return out;
}

// ------------------------------------------------------------------------------------------------ layers
// y = x Wᵀ + b for `rows` rows. Four rows and two outputs at a time, so that each number read is used several times.
export function linear(x, rows, weight, bias, inputs, outputs) {
  const y = new Float32Array(rows * outputs),
    single = (r, o) => {
      y[r * outputs + o] = dot(x, r * inputs, weight, o * inputs, inputs) + (bias ? bias[o] : 0);
    };
  let r = 0;
  for (; r + 4 <= rows; r += 4) {
    const [a, b, c, d] = [r, r + 1, r + 2, r + 3].map((row) => row * inputs);
    let o = 0;
    for (; o + 2 <= outputs; o += 2) {
      const v = o * inputs,
        w = v + inputs;
      // prettier-ignore
      let a0 = 0, a1 = 0, b0 = 0, b1 = 0, c0 = 0, c1 = 0, d0 = 0, d1 = 0;
      for (let i = 0; i < inputs; i++) {
        // prettier-ignore
        const first = weight[v + i], second = weight[w + i], p = x[a + i], q = x[b + i], s = x[c + i], t = x[d + i];
        // prettier-ignore
        {
          a0 += p * first; b0 += q * first; c0 += s * first; d0 += t * first;
          a1 += p * second; b1 += q * second; c1 += s * second; d1 += t * second;
        }
      }
      const sums = [a0, a1, b0, b1, c0, c1, d0, d1];
      for (let k = 0; k < 8; k++) {
        const output = o + (k % 2);
        y[(r + (k >> 1)) * outputs + output] = sums[k] + (bias ? bias[output] : 0);
      }
    }
    for (; o < outputs; o++) for (let k = r; k < r + 4; k++) single(k, o);
  }
  for (; r < rows; r++) for (let o = 0; o < outputs; o++) single(r, o);
  return y;
}

export function dot(x, xStart, y, yStart, length) {
  let sum = 0;
  for (let i = 0; i < length; i++) sum += x[xStart + i] * y[yStart + i];
  return sum;
}

export function layerNorm(x, rows, width, weight, bias, eps) {
  const y = new Float32Array(x.length);
  for (let r = 0; r < rows; r++) {
    const start = r * width;
    let mean = 0,
      variance = 0;
    for (let i = 0; i < width; i++) mean += x[start + i] / width;
    for (let i = 0; i < width; i++) variance += (x[start + i] - mean) ** 2 / width;
    const scale = 1 / Math.sqrt(variance + eps);
    for (let i = 0; i < width; i++) y[start + i] = (x[start + i] - mean) * scale * weight[i] + bias[i];
  }
  return y;
}

export function softmaxRows(x, rows, width) {
  const y = new Float32Array(x.length);
  for (let r = 0; r < rows; r++) {
    const start = r * width;
    let largest = -Infinity,
      sum = 0;
    for (let i = 0; i < width; i++) largest = Math.max(largest, x[start + i]);
    for (let i = 0; i < width; i++) sum += y[start + i] = Math.exp(x[start + i] - largest);
    for (let i = 0; i < width; i++) y[start + i] /= sum;
  }
  return y;
}

// The error function to 1.2e-7 (Press et al., Numerical Recipes, section 6.2), and GELU with it (Hendrycks & Gimpel
// 2016).
const ERFC = [
  0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368,
  -1.26551223,
];
export function erf(x) {
  const t = 1 / (1 + Math.abs(x) / 2);
  let power = 0;
  for (let i = 0; i < ERFC.length; i++) power = power * t + ERFC[i];
  const rest = t * Math.exp(-x * x + power);
  return x < 0 ? rest - 1 : 1 - rest;
}
export function gelu(x) {
  const y = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) y[i] = (x[i] * (1 + erf(x[i] / Math.SQRT2))) / 2;
  return y;
}

export function add(x, y) {
  const sum = new Float32Array(x.length);
  for (let i = 0; i < x.length; i++) sum[i] = x[i] + y[i];
  return sum;
}

// ------------------------------------------------------------------------------------------------ the model
// An image becomes tokens: patches, projected; class token and registers in front; positions added (equation 1).
export function embed(model, pixels) {
  const { N, D, T, C, P, prefix, weights } = model;
  const patches = patchify(model, pixels);
  const projected = linear(
    patches,
    N,
    weights["patch_embed.proj.weight"],
    weights["patch_embed.proj.bias"],
    C * P * P,
    D,
  );
  let tokens = new Float32Array(T * D),
    at = 0;
  for (const name of ["cls_token", "reg_token"])
    if (weights[name]) {
      tokens.set(weights[name], at);
      at += weights[name].length;
    }
  tokens.set(projected, prefix * D);
  if (weights.pos_embed) tokens = add(tokens, weights.pos_embed);
  return { patches, projected, tokens };
}

// (T, 3·D) to three times (h, T, d): queries, keys and values of each head, one after the other.
function splitHeads(model, qkv) {
  const { T, D, h, d } = model;
  return [0, 1, 2].map((part) => {
    const out = new Float32Array(T * D);
    for (let head = 0; head < h; head++)
      for (let t = 0; t < T; t++)
        for (let i = 0; i < d; i++) out[(head * T + t) * d + i] = qkv[t * 3 * D + part * D + head * d + i];
    return out;
  });
}

// Every token asks every token (equations 6 and 7). `silent`: heads whose output is set to zero.
function attention(model, block, x, silent) {
  const { T, D, h, d, eps, weights: w } = model,
    name = `blocks.${block}.attn`;
  let [q, k, v] = splitHeads(model, linear(x, T, w[`${name}.qkv.weight`], w[`${name}.qkv.bias`], D, 3 * D));
  const raw = { q, k };
  if (w[`${name}.q_norm.weight`]) {
    q = layerNorm(q, h * T, d, w[`${name}.q_norm.weight`], w[`${name}.q_norm.bias`], eps);
    k = layerNorm(k, h * T, d, w[`${name}.k_norm.weight`], w[`${name}.k_norm.bias`], eps);
  }
  const scores = new Float32Array(h * T * T),
    heads = new Float32Array(T * D);
  for (let head = 0; head < h; head++)
    for (let t = 0; t < T; t++)
      for (let s = 0; s < T; s++)
        scores[(head * T + t) * T + s] = dot(q, (head * T + t) * d, k, (head * T + s) * d, d) / Math.sqrt(d);
  const weights = softmaxRows(scores, h * T, T);
  for (let head = 0; head < h; head++) {
    if (silent.has(head)) continue;
    for (let t = 0; t < T; t++)
      for (let s = 0; s < T; s++) {
        const weight = weights[(head * T + t) * T + s];
        for (let i = 0; i < d; i++) heads[t * D + head * d + i] += weight * v[(head * T + s) * d + i];
      }
  }
  const joined = linear(heads, T, w[`${name}.proj.weight`], w[`${name}.proj.bias`], D, D);
  return { q, k, v, raw, scores, weights, heads, joined };
}

// Mix the tokens, then think about each one; both times the result is added to what was there (equations 2 and 3).
export function encoderBlock(model, block, input, silent = new Set()) {
  const { T, D, hidden: width, eps, weights: w } = model,
    name = `blocks.${block}`;
  const norm1 = layerNorm(input, T, D, w[`${name}.norm1.weight`], w[`${name}.norm1.bias`], eps);
  const attended = attention(model, block, norm1, silent);
  const middle = add(input, attended.joined);
  const norm2 = layerNorm(middle, T, D, w[`${name}.norm2.weight`], w[`${name}.norm2.bias`], eps);
  const hidden = linear(norm2, T, w[`${name}.mlp.fc1.weight`], w[`${name}.mlp.fc1.bias`], D, width);
  const active = gelu(hidden);
  const mlp = linear(active, T, w[`${name}.mlp.fc2.weight`], w[`${name}.mlp.fc2.bias`], width, D);
  return { input, norm1, ...attended, middle, norm2, hidden, active, mlp, output: add(middle, mlp) };
}

// What the head reads: the class token, or the mean of the patch tokens (equation 4).
export function readout(model, x) {
  const { D, T, prefix, eps, weights: w } = model,
    final = layerNorm(x, T, D, w["norm.weight"], w["norm.bias"], eps);
  const pooled = new Float32Array(D),
    first = model.pool === "cls" ? 0 : prefix,
    last = model.pool === "cls" ? 1 : T;
  for (let t = first; t < last; t++) for (let i = 0; i < D; i++) pooled[i] += final[t * D + i] / (last - first);
  return { final, pooled, logits: linear(pooled, 1, w["head.weight"], w["head.bias"], D, model.K) };
}

// Normalised pixels (C, H, W) to logits. `off`: pairs [block, head] switched off; `skip`: blocks that are passed by.
export function forward(model, pixels, { off = [], skip = [] } = {}) {
  const embedded = embed(model, pixels),
    blocks = [];
  let x = embedded.tokens;
  for (let block = 0; block < model.L; block++) {
    const silent = new Set(off.filter((pair) => pair[0] === block).map((pair) => pair[1]));
    blocks.push(skip.includes(block) ? { skipped: true, input: x, output: x } : encoderBlock(model, block, x, silent));
    x = blocks[block].output;
  }
  const answer = readout(model, x);
  return { ...embedded, blocks, ...answer, probabilities: softmaxRows(answer.logits, 1, model.K) };
}
