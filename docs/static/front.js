"use strict";
// The live explorer on a page of the site: first the page, then the code, the pictures and, last and largest, the weights.
(() => {
  const folder = new URL("front/", document.currentScript.src);
  const bring = (name) =>
    new Promise((done, fail) => {
      const script = document.createElement("script");
      Object.assign(script, { src: new URL(name, folder).href, onload: done, onerror: fail });
      document.head.append(script);
    });
  async function start(place) {
    try {
      const training = place.dataset.vitFront === "training";
      for (const name of training ? ["live.js", "training.js"] : ["live.js", "pictures.js", "weights.js"]) await bring(name);
      if (training) mountLive(place, { ...VIT_TRAINING, hash: true });
      else mountLive(place, { ...VIT_FRONT, ...VIT_PICTURES, models: VIT_MODELS, size: place.dataset.size, hash: true, tour: true });
    } catch (error) {
      place.textContent = "The model could not be loaded. Reload the page to try again.";
      throw error;
    }
  }
  const wait = window.requestIdleCallback ?? ((f) => setTimeout(f, 50));
  const begin = () => document.querySelectorAll("[data-vit-front]").forEach((place) => wait(() => start(place)));
  if (document.readyState === "complete") begin();
  else window.addEventListener("load", begin);
})();
