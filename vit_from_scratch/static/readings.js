// What one can read out of a forward pass: where it looked, what it would have said, and what mattered. Each function
// mirrors one of vit_from_scratch.interpret and is tested against it.
import { dot, erf, layerNorm, linear } from "./vit.js";

// The residual stream: what enters the first block, then what leaves each one.
const states = (result) => [result.tokens, ...result.blocks.map((block) => block.output)];

// Logits (T, K) that the head would give if it read each token now: before the first block and after each.
export function logitLens(model, result) {
  const { T, D, K, eps, weights: w } = model;
  return states(result).map((x) => {
    const final = layerNorm(x, T, D, w["norm.weight"], w["norm.bias"], eps);
    return linear(final, T, w["head.weight"], w["head.bias"], D, K);
  });
}

// The class token's row of a (T, T) matrix, or the mean of the patches' rows where the answer is read from their
// mean.
export function answerRow(model, matrix) {
  const { T, prefix, N } = model;
  if (model.pool === "cls") return matrix.slice(0, T);
  const row = new Float32Array(T);
  for (let t = prefix; t < T; t++) for (let s = 0; s < T; s++) row[s] += matrix[t * T + s] / N;
  return row;
}

export function meanOfHeads(model, weights) {
  const { T, h } = model,
    mean = new Float32Array(T * T);
  for (let head = 0; head < h; head++) for (let i = 0; i < T * T; i++) mean[i] += weights[head * T * T + i] / h;
  return mean;
}

const identity = (T) => Float32Array.from({ length: T * T }, (_, i) => (i % (T + 1) ? 0 : 1));

function matmul(a, b, rows, inner, columns) {
  const out = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++)
    for (let k = 0; k < inner; k++) {
      const value = a[r * inner + k];
      for (let c = 0; c < columns; c++) out[r * columns + c] += value * b[k * columns + c];
    }
  return out;
}

// How much of each input token flows into each token, after each block (Abnar & Zuidema 2020, section 3).
export function rollout(model, result) {
  const { T } = model;
  let flow = identity(T);
  return result.blocks.map((block) => {
    if (block.skipped) return flow;
    const step = meanOfHeads(model, block.weights);
    for (let t = 0; t < T; t++) step[t * T + t] += 1;
    for (let t = 0; t < T; t++) {
      let sum = 0;
      for (let s = 0; s < T; s++) sum += step[t * T + s];
      for (let s = 0; s < T; s++) step[t * T + s] /= sum;
    }
    return (flow = matmul(step, flow, T, T, T));
  });
}

// ------------------------------------------------------------------------------------------------ backwards
function transposed(matrix, rows, columns) {
  const out = new Float32Array(rows * columns);
  for (let r = 0; r < rows; r++) for (let c = 0; c < columns; c++) out[c * rows + r] = matrix[r * columns + c];
  return out;
}

// The gradient of y = x Wᵀ with respect to x: dy W.
const linearBack = (dy, rows, weight, inputs, outputs) =>
  linear(dy, rows, transposed(weight, outputs, inputs), null, outputs, inputs);

function layerNormBack(dy, x, rows, width, weight, eps) {
  const dx = new Float32Array(x.length);
  for (let r = 0; r < rows; r++) {
    const at = r * width;
    let mean = 0,
      variance = 0,
      sum = 0,
      along = 0;
    for (let i = 0; i < width; i++) mean += x[at + i] / width;
    for (let i = 0; i < width; i++) variance += (x[at + i] - mean) ** 2 / width;
    const scale = 1 / Math.sqrt(variance + eps);
    for (let i = 0; i < width; i++) {
      sum += (dy[at + i] * weight[i]) / width;
      along += (dy[at + i] * weight[i] * (x[at + i] - mean) * scale) / width;
    }
    for (let i = 0; i < width; i++)
      dx[at + i] = scale * (dy[at + i] * weight[i] - sum - (x[at + i] - mean) * scale * along);
  }
  return dx;
}

const geluSlope = (x) => (1 + erf(x / Math.SQRT2)) / 2 + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI);

// From the gradient at a block's attention output (T, D) to those of its weights (h, T, T) and of its input (T, D).
function attentionBack(model, index, block, dJoined, silent) {
  const { T, D, h, d, eps, weights: w } = model,
    name = `blocks.${index}.attn`;
  const dHeads = linearBack(dJoined, T, w[`${name}.proj.weight`], D, D),
    dWeights = new Float32Array(h * T * T);
  let dq = new Float32Array(T * D),
    dk = new Float32Array(T * D);
  const dv = new Float32Array(T * D),
    dqkv = new Float32Array(3 * T * D);
  for (let head = 0; head < h; head++) {
    if (silent.has(head)) continue;
    for (let t = 0; t < T; t++) {
      const row = (head * T + t) * T,
        out = t * D + head * d;
      let through = 0;
      for (let s = 0; s < T; s++) {
        dWeights[row + s] = dot(dHeads, out, block.v, (head * T + s) * d, d);
        through += dWeights[row + s] * block.weights[row + s];
      }
      for (let s = 0; s < T; s++) {
        const weight = block.weights[row + s],
          dScore = (weight * (dWeights[row + s] - through)) / Math.sqrt(d);
        const to = (head * T + s) * d,
          from = (head * T + t) * d;
        for (let i = 0; i < d; i++) {
          dq[from + i] += dScore * block.k[to + i];
          dk[to + i] += dScore * block.q[from + i];
          dv[to + i] += weight * dHeads[out + i];
        }
      }
    }
  }
  if (w[`${name}.q_norm.weight`]) {
    dq = layerNormBack(dq, block.raw.q, h * T, d, w[`${name}.q_norm.weight`], eps);
    dk = layerNormBack(dk, block.raw.k, h * T, d, w[`${name}.k_norm.weight`], eps);
  }
  [dq, dk, dv].forEach((part, number) => {
    for (let head = 0; head < h; head++)
      for (let t = 0; t < T; t++)
        for (let i = 0; i < d; i++) dqkv[t * 3 * D + number * D + head * d + i] = part[(head * T + t) * d + i];
  });
  return { dWeights, dInput: linearBack(dqkv, T, w[`${name}.qkv.weight`], D, 3 * D) };
}

// Gradients of one class's logit with respect to the attention weights of every block, last block first computed.
export function attentionGradients(model, result, target, { off = [] } = {}) {
  const { T, D, L, prefix, N, eps, hidden: width, weights: w } = model,
    gradients = [];
  const dFinal = new Float32Array(T * D),
    [first, last] = model.pool === "cls" ? [0, 1] : [prefix, T];
  for (let t = first; t < last; t++)
    for (let i = 0; i < D; i++) dFinal[t * D + i] = w["head.weight"][target * D + i] / (model.pool === "cls" ? 1 : N);
  let dx = layerNormBack(dFinal, L ? result.blocks[L - 1].output : result.tokens, T, D, w["norm.weight"], eps);
  for (let index = L - 1; index >= 0; index--) {
    const block = result.blocks[index],
      name = `blocks.${index}`;
    if (block.skipped) continue;
    const dActive = linearBack(dx, T, w[`${name}.mlp.fc2.weight`], width, D);
    const dHidden = dActive.map((value, i) => value * geluSlope(block.hidden[i]));
    const dNorm2 = linearBack(dHidden, T, w[`${name}.mlp.fc1.weight`], D, width);
    const dMiddle = layerNormBack(dNorm2, block.middle, T, D, w[`${name}.norm2.weight`], eps).map(
      (value, i) => value + dx[i],
    );
    const silent = new Set(off.filter((pair) => pair[0] === index).map((pair) => pair[1]));
    const { dWeights, dInput } = attentionBack(model, index, block, dMiddle, silent);
    gradients[index] = dWeights;
    dx = layerNormBack(dInput, block.input, T, D, w[`${name}.norm1.weight`], eps).map((value, i) => value + dMiddle[i]);
  }
  return gradients;
}

// Gradient times attention, positive part, added up through the blocks (Chefer et al. 2021, equations 5 and 6): one
// (T, T) matrix after each block, without the identity that it starts from.
export function relevance(model, result, target, options = {}) {
  const { T, h } = model,
    gradients = attentionGradients(model, result, target, options);
  let total = identity(T);
  return result.blocks.map((block, index) => {
    if (!block.skipped) {
      const positive = block.weights.map((weight, i) => Math.max(0, weight * gradients[index][i]));
      const step = matmul(meanOfHeads({ T, h }, positive), total, T, T, T);
      total = total.map((value, i) => value + step[i]);
    }
    return total.map((value, i) => (i % (T + 1) ? value : Math.max(0, value - 1)));
  });
}
