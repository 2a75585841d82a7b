// The model beside the page: it runs in a worker, so that the page stays responsive, or in the page where there is
// none.
import { forward, freshModel, unpackModel } from "./vit.js";
import { relevance } from "./readings.js";

// Answers one request: { pixels, options, target } to { result, relevance, milliseconds }. `target`: the class whose
// relevance is wanted, "winner" for the one that is answered, or −1 for none.
function answer(model, { pixels, options, target }) {
  const start = performance.now(),
    result = forward(model, pixels, options),
    about = target === "winner" ? result.logits.indexOf(Math.max(...result.logits)) : target;
  const matrices = about >= 0 ? relevance(model, result, about, options) : null;
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
  const here = ({ name, request, done }) => setTimeout(() => done(answer(models[name], request)));
  try {
    worker = new Worker(URL.createObjectURL(new Blob([workerSource], { type: "text/javascript" })));
    worker.onmessage = ({ data }) => {
      waiting.get(data.id).done(data);
      waiting.delete(data.id);
    };
    worker.onerror = () => {
      worker = null; // forbidden, as some servers do: the page computes, and stands still meanwhile
      waiting.forEach(here);
      waiting.clear();
    };
  } catch {
    worker = null; // the same, said at once
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
      return new Promise((done) => {
        if (!worker) return here({ name, request, done });
        waiting.set(++count, { name, request, done });
        worker.postMessage({ id: count, name, ...request });
      });
    },
  };
}
