// The model beside the page: it runs in a worker, so that the page stays responsive, or in the page where there is
// none.
import { forward, freshModel, unpackModel } from "./vit.js";
import { relevance } from "./readings.js";

// Answers one request: { pixels, options, target } to { result, relevance, milliseconds }.
function answer(model, { pixels, options, target }) {
  const start = performance.now(),
    result = forward(model, pixels, options);
  const matrices = target >= 0 ? relevance(model, result, target, options) : null;
  return { result, relevance: matrices, milliseconds: performance.now() - start };
}

// The memory behind all numbers of an answer: handed over to the page, not copied.
function buffersOf(value, found = new Set()) {
  if (ArrayBuffer.isView(value)) found.add(value.buffer);
  else if (value && typeof value === "object") Object.values(value).forEach((part) => buffersOf(part, found));
  return [...found];
}

// Inside the worker: the first message holds the packed model.
export function serveRequests(scope) {
  const models = {};
  scope.onmessage = ({ data }) => {
    if (data.base !== undefined) models[data.name] = freshModel(models[data.base], data.seed);
    else if (data.packed) models[data.name] = unpackModel(data.packed);
    else {
      const reply = answer(models[data.name], data);
      scope.postMessage({ id: data.id, ...reply }, buffersOf(reply));
    }
  };
}

// In the page: `ask(name, request)` promises an answer of the model that `add(name, packed)` brought.
export function makeEngine(workerSource) {
  const waiting = new Map(),
    models = {};
  let worker = null,
    count = 0;
  try {
    worker = new Worker(URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" })));
    worker.onmessage = ({ data }) => {
      waiting.get(data.id)(data);
      waiting.delete(data.id);
    };
  } catch {
    worker = null; // a browser that forbids workers: the page computes, and stands still meanwhile
  }
  return {
    inWorker: () => worker !== null,
    add(name, packed) {
      models[name] = unpackModel(packed);
      worker?.postMessage({ name, packed });
      return models[name];
    },
    addFresh(name, base, seed) {
      models[name] = freshModel(models[base], seed);
      worker?.postMessage({ name, base, seed });
      return models[name];
    },
    ask(name, request) {
      if (!worker) return new Promise((done) => setTimeout(() => done(answer(models[name], request))));
      return new Promise((done) => {
        waiting.set(++count, done);
        worker.postMessage({ id: count, name, ...request });
      });
    },
  };
}
