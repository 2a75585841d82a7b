// The explorer that runs the model: it ties engine, state and views together. `data` is what page.py packed:
// { title, models, names, images, first, model, puzzle, tour, hash, lessons, training, tab }.
import { makeEngine } from "./worker.js";
import { decodeBase64 } from "./vit.js";
import { fromHash, makeLab, START, toHash } from "./lab.js";
import { button, h, setText } from "./tools.js";
import { pictureView, shelf } from "./picture.js";
import { wallView } from "./wall.js";
import { answerView, lensView } from "./answer.js";
import { matrixView } from "./matrix.js";
import { followView } from "./follow.js";
import { compareView } from "./compare.js";
import { PUZZLE, tourView } from "./tour.js";
import { trainingView } from "./training.js";

// Panels of which one is open; each is made when it is first opened. Arrow keys move between the tabs.
function tabs(lab, panels) {
  const list = h("div", { class: "vfs-tabs", role: "tablist", "aria-label": "More to see" }),
    box = h("div"),
    made = [];
  const serial = Math.random().toString(36).slice(2);
  const open = () => {
    const chosen = Math.min(lab.state.tab, panels.length - 1);
    panels.forEach(([, make], i) => {
      if (i === chosen && !made[i]) {
        made[i] = h(
          "div",
          { role: "tabpanel", id: `p${serial}${i}`, "aria-labelledby": `t${serial}${i}`, class: "vfs-panel" },
          make(),
        );
        box.append(made[i]);
      }
      if (made[i]) made[i].hidden = i !== chosen;
      buttons[i].setAttribute("aria-selected", String(i === chosen));
      buttons[i].tabIndex = i === chosen ? 0 : -1;
    });
  };
  const buttons = panels.map(([name], i) =>
    h(
      "button",
      { type: "button", role: "tab", id: `t${serial}${i}`, "aria-controls": `p${serial}${i}`, onclick: () => lab.set({ tab: i }) },
      name,
    ),
  );
  list.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key],
      at = buttons.findIndex((node) => node.tabIndex === 0) + move;
    if (!move || !buttons[at]) return;
    event.preventDefault();
    lab.set({ tab: at });
    buttons[at].focus();
  });
  list.append(...buttons);
  lab.on((changed) => {
    if (changed.includes("tab")) open();
  });
  open();
  return h("div", {}, list, box);
}

// The number of the picture, and a link to what is shown now.
function linkView(lab) {
  const which = h("span", { class: "vfs-quiet" }),
    said = h("span", { class: "vfs-quiet", role: "status" }),
    address = h("input", { type: "text", readonly: true, hidden: true, class: "vfs-address", "aria-label": "Link to this view" });
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(location.href);
      address.hidden = true;
      setText(said, "Copied.");
    } catch {
      Object.assign(address, { hidden: false, value: location.href }); // the browser forbids it, as on pages opened from disk
      address.select();
      setText(said, "Press Ctrl+C (Cmd+C) to copy it.");
    }
  };
  lab.on((changed) => {
    setText(which, `Picture ${lab.state.image}`);
    if (changed.some((key) => key in lab.state)) {
      setText(said, "");
      address.hidden = true;
    }
  });
  setText(which, `Picture ${lab.state.image}`);
  return h("div", { class: "vfs-buttons vfs-link-row" }, which, button("Copy link to this view", copy), address, said);
}

// Everything that one model's page consists of.
function fill(lab, data) {
  const { root } = lab,
    status = h("p", { class: "vfs-status", role: "status" }),
    copied = data.hash ? linkView(lab) : null,
    say = (text) => setText(status, text);
  const { headline, bars } = answerView(lab);
  const small = h("canvas", { class: "vfs-small", role: "img", "aria-label": "The picture as the model reads it" });
  const answers = h("div", { class: "vfs-answers" }, bars, lensView(lab));
  const parts = [
    shelf(lab),
    copied,
    status,
    h("div", { class: "vfs-screen" }, h("div", {}, h("div", { class: "vfs-beside" }, headline, small), pictureView(lab, say, small)), wallView(lab), answers),
  ];
  if (data.tour) parts.unshift(...tourView(lab, data));
  parts.push(
    tabs(lab, [
      ["Every step in numbers", () => followView(lab, data.lessons)],
      ["Who looks at whom", () => matrixView(lab)],
      ["Compare", () => compareView(lab)],
      ...(data.training ? [["Over training", () => trainingView(lab, data.training)]] : []),
    ]),
  );
  root.replaceChildren(...parts.filter(Boolean));
  lab.on(() => root.classList.toggle("vfs-pending", !lab.current()));
  lab.on(() => (lab.busy ? root.setAttribute("aria-busy", "true") : root.removeAttribute("aria-busy")));
  const painting = () => root.classList.toggle("painting", ["draw", "erase"].includes(lab.state.tool));
  lab.on(painting);
  painting();
}

export function mountLive(element, data, workerSource) {
  const engine = makeEngine(workerSource);
  const models = data.models.map((packed, index) =>
    packed.base !== undefined
      ? engine.addFresh(index, packed.base, packed.seed)
      : engine.add(index, { ...packed, bytes: decodeBase64(packed.bytes) }),
  );
  const lab = makeLab(engine, models, { bytes: decodeBase64(data.images.bytes), labels: data.images.labels });
  const root = h("section", { class: "vfs vfs-live", "aria-label": data.title });
  Object.assign(lab, { root, hovered: null, kept: null, names: data.names ?? [""], comparable: data.comparable ?? [], size: data.size });
  lab.hover = (token) => {
    if (token === lab.hovered) return;
    lab.hovered = token;
    lab.show(["hover"]);
  };
  const fromAddress = () => {
    const named = fromHash(location.hash, lab.model, lab.count, models.length);
    if (data.puzzle && named.tour === PUZZLE) named.image ??= data.puzzle.image; // it is about one picture
    return named;
  };
  const start = { ...START, image: data.first ?? 0, model: data.model ?? 0, tab: data.tab ?? 0 };
  Object.assign(lab.state, start, data.hash ? fromAddress() : {});
  let shown = null;
  function build() {
    // once, and again when a model of another make is chosen
    if (shown && JSON.stringify(shown.arguments) === JSON.stringify(lab.model.arguments)) return;
    if (shown) {
      const { model, image, tour, tab, kept } = lab.state; // what holds for every model
      Object.assign(lab, { result: null, before: null }, { state: { ...START, model, image, tour, tab, kept } });
    }
    shown = lab.model;
    lab.forgetListeners();
    lab.on((changed) => {
      if (changed.includes("model")) build();
    });
    if (data.hash)
      lab.on((changed) => {
        if (changed.some((key) => key in lab.state))
          history.replaceState(null, "", toHash(lab.state, start) || location.pathname + location.search);
      });
    fill(lab, data);
  }
  element.replaceChildren(root);
  build();
  if (data.hash) addEventListener("hashchange", () => lab.set({ ...start, ...fromAddress() }));
  lab.show(["result"]);
  lab.run();
  return lab;
}
