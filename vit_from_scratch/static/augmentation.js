// The augmentation explorer: every change from weak to strong, on the same few images.
import { KINDS } from "./hosts.js";
import { bytes, choice, h, picture, scheduler, slider } from "./tools.js";

function augmentation(model, el, host) {
  const { height, width, kinds, strengths } = model.get("info"),
    get = (k) => model.get(k);
  const kind = choice(
      "Change",
      kinds.map((k, i) => [i, k]),
      (v) => host.put({ change: +v }),
    ),
    strength = slider(
      "Strength",
      0,
      1,
      1,
      (i) => strengths[get("change")][i] ?? "",
      (i) => host.put({ strength: i }),
    );
  const again = h(
      "button",
      { type: "button", class: "needs-kernel", onclick: () => host.ask({ type: "again" }) },
      "Draw again",
    ),
    sheet = h("div", { class: "vfs-sheet" }),
    zoom = Math.max(1, Math.round(96 / width));
  el.append(h("div", { class: "vfs-row" }, kind.node, strength.node, again), sheet);
  const cell = (rgb, text) => {
    const c = picture(rgb, width, height);
    c.setAttribute("role", "img");
    c.setAttribute("aria-label", text);
    c.style.width = `${width * zoom}px`;
    return h("figure", {}, c, h("figcaption", {}, text));
  };
  const draw = scheduler(() => {
    const size = 3 * height * width,
      originals = bytes(get("originals")),
      count = originals.length / size,
      k = get("change"),
      s = Math.min(get("strength"), strengths[k].length - 1),
      sheetOf = get("sheets")[k][s],
      data = bytes(sheetOf.images);
    const line = (title, rgb, label) => [
      h("h4", {}, title),
      h(
        "div",
        { class: "vfs-strip" },
        ...Array.from({ length: rgb.length / size }, (_, i) => cell(rgb.subarray(i * size, (i + 1) * size), label(i))),
      ),
    ];
    sheet.replaceChildren(
      ...line("before", originals, (i) => get("labels")[i % count]),
      ...line(`after: ${kinds[k]}, ${strengths[k][s]}`, data, (i) => sheetOf.labels[i]),
    );
  });
  function sync() {
    kind.set(get("change"));
    const most = strengths[get("change")].length - 1;
    strength.set(Math.min(get("strength"), most), 0, most);
    strength.node.hidden = !most;
    draw();
  }
  for (const k of ["change", "strength", "sheets"]) host.on(`change:${k}`, sync);
  sync();
}
KINDS.augmentation = augmentation;
