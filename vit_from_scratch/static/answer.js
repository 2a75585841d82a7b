// What the model answers, how that changed, and what it would have answered after each block.
import { h, percent, points, refill, scheduler, setText, speaker, svg } from "./tools.js";
import { help } from "./words.js";

const INKS = [
  // on light paper, on dark
  ["#005f99", "#56b4e9"],
  ["#b84f00", "#ff9a4d"],
  ["#00795a", "#3fd0a4"],
  ["#a3497b", "#e59cc5"],
  ["#8a5f00", "#e0b84a"],
  ["#3f6fb5", "#9dbcf0"],
  ["#6f50b0", "#bda5ee"],
  ["#666666", "#b9b9b9"],
  ["#b02a48", "#ff8ea3"],
  ["#2c7773", "#7cd0ca"],
].map(([light, dark]) => `light-dark(${light}, ${dark})`);
const MOST = 10; // bars at most

export function answerView(lab) {
  const { model } = lab,
    bars = h("div", { class: "vfs-bars" }),
    title = h("h3", {}),
    verdict = h("p", { class: "vfs-verdict", "aria-live": "polite" }),
    time = h("p", { class: "vfs-quiet" });
  const sr = speaker();
  function draw() {
    if (!lab.current()) {
      setText(title, "It says …");
      setText(verdict, lab.waiting());
      sr.say(lab.waiting());
      if (!lab.result) setText(time, lab.waiting());
      return;
    }
    const { probabilities, logits } = lab.result,
      before = lab.before?.probabilities,
      chosen = lab.about();
    const order = Array.from(probabilities.keys())
      .sort((a, b) => probabilities[b] - probabilities[a])
      .slice(0, MOST);
    const first = order[0],
      was = before ? before.indexOf(Math.max(...before)) : first,
      label = lab.label();
    const which = lab.state.model ? ` (${lab.names[lab.state.model]})` : "";
    setText(title, `It says${which}: ${model.classes[first]}`);
    const truth =
      label < 0
        ? ""
        : label === first
          ? " The picture's label agrees."
          : ` The picture's label is ${model.classes[label]}.`;
    const change =
      before && (was !== first || Math.abs(before[first] - probabilities[first]) > 5e-4)
        ? was === first
          ? ` ${points(probabilities[first] - before[first])} by what you changed.`
          : ` Before your changes it said ${model.classes[was]}.`
        : "";
    setText(verdict, `${percent(probabilities[first])} ${model.classes[first]}.${truth}${change}`);
    refill(
      bars,
      ...order.map((k) => {
        const moved = before ? probabilities[k] - before[k] : 0,
          text = Math.abs(moved) > 5e-4 ? ` (${points(moved).replace(" points", "")})` : "";
        const bar = h("i", {
          class: before && Math.abs(moved) > 5e-4 ? "was" : "",
          style: `--p:${probabilities[k]};--was:${before?.[k] ?? 0}`,
        });
        return h(
          "button",
          {
            type: "button",
            class: "vfs-bar",
            "aria-pressed": String(k === chosen && lab.state.about >= 0),
            onclick: () => lab.set({ about: lab.state.about === k ? -1 : k }),
            title: `logit ${logits[k].toFixed(3)}`,
          },
          h("span", {}, model.classes[k]),
          bar,
          h("b", {}, `${percent(probabilities[k])}${text}`),
        );
      }),
    );
    setText(
      time,
      `${model.K} classes and no others: to this model everything is one of ` +
        `them. Computed in your browser in ${Math.round(lab.milliseconds)} ms.`,
    );
    sr.say(verdict.textContent);
  }
  const redraw = scheduler(draw);
  lab.on((changed) => {
    if (["result", "about", "busy", "image", "model"].some((key) => changed.includes(key))) redraw();
  });
  draw();
  const headline = h("div", { class: "vfs-headline" }, title, verdict, sr.node);
  return { headline, bars: h("div", {}, h("h3", {}, "Every class it knows"), bars, time) };
}

// All classes as lines over the blocks, read at the token that looks.
export function lensView(lab) {
  const { model } = lab,
    { L, K } = model,
    width = 350,
    height = 190,
    left = 40,
    right = 84,
    top = 10,
    bottom = 26;
  const box = h("div", { class: "vfs-scroll" }),
    note = h("p", { class: "vfs-caption" });
  const x = (depth) => left + (depth / L) * (width - left - right),
    y = (p) => top + (1 - p) * (height - top - bottom);
  function draw() {
    if (!lab.current()) return setText(note, lab.waiting());
    const token = lab.token(),
      lines = Array.from({ length: L + 1 }, (_, depth) => lab.lensAt(depth, token));
    const best = lines.map((p) => p.indexOf(Math.max(...p))),
      shown = [...new Set([...best, lab.about()])].slice(0, 7);
    const when = (depth) => (depth ? `after block ${depth - 1}` : "before block 0");
    const name = `What the classifier reads from ${lab.tokenName(token)} after each block`;
    const chart = svg("svg", {
      viewBox: `0 0 ${width} ${height}`,
      class: "vfs-chart",
      role: "img",
      "aria-label": `${name}: ${best.map((k, depth) => `${when(depth)} ${model.classes[k]}`).join(", ")}`,
    });
    for (const p of [0, 0.5, 1])
      chart.append(
        svg("line", { x1: left, x2: width - right, y1: y(p), y2: y(p), class: "vfs-gridline" }),
        svg("text", { x: left - 6, y: y(p) + 4, "text-anchor": "end" }, `${100 * p} %`),
      );
    for (let depth = 0; depth <= L; depth++)
      chart.append(
        svg("text", { x: x(depth), y: height - 8, "text-anchor": "middle" }, depth ? `${depth - 1}` : "start"),
      );
    const at = x(lab.block() + 1);
    chart.append(svg("line", { x1: at, x2: at, y1: top, y2: height - bottom, class: "vfs-now" }));
    for (let k = 0; k < K; k++) {
      const path = lines.map((p, depth) => `${depth ? "L" : "M"}${x(depth).toFixed(1)} ${y(p[k]).toFixed(1)}`).join("");
      const strong = shown.includes(k);
      chart.append(
        svg("path", {
          d: path,
          fill: "none",
          style: `stroke:${strong ? INKS[k % INKS.length] : "currentColor"}`,
          "stroke-width": strong ? 2.5 : 1,
          opacity: strong ? 1 : 0.25,
        }),
      );
    }
    const ends = shown.map((k) => ({ k, at: y(lines[L][k]) })).sort((a, b) => a.at - b.at);
    ends.forEach((end, i) => {
      if (i && end.at < ends[i - 1].at + 13) end.at = ends[i - 1].at + 13;
    });
    // what slid out at the bottom pushes upward only what stands in its way
    let room = height - bottom + 4;
    for (const end of [...ends].reverse()) {
      end.at = Math.min(end.at, room);
      room = end.at - 13;
    }
    for (const { k, at: line } of ends)
      chart.append(
        svg(
          "text",
          { x: width - right + 6, y: line + 4, style: `fill:${INKS[k % INKS.length]};font-weight:600` },
          model.classes[k],
        ),
      );
    chart.addEventListener("click", (event) => {
      const bounds = chart.getBoundingClientRect(),
        depth = ((((event.clientX - bounds.left) / bounds.width) * width - left) / (width - left - right)) * L;
      lab.set({ block: Math.max(0, Math.min(L - 1, Math.round(depth) - 1)) });
    });
    refill(box, chart);
    const turn = best.findLastIndex((k) => k !== best[L]) + 1;
    setText(
      note,
      lab.asksWhen?.() || turn > L
        ? `Read at ${lab.tokenName(token)}. A click on the chart chooses a block.`
        : `Read at ${lab.tokenName(token)}: “${model.classes[best[L]]}” ` +
            `leads ${turn ? `from block ${turn - 1} on` : "from the start"}. A click on the chart chooses a block.`,
    );
  }
  const redraw = scheduler(draw);
  lab.on((changed) => {
    if (!changed.includes("hover")) redraw();
  });
  return h(
    "div",
    { class: "vfs-lens-lines" },
    h("h3", {}, "What it would have said after each block", help("logit lens")),
    box,
    note,
  );
}
