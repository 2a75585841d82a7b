// The hyperparameter playground: sliders, what they cost, curves and the table of runs.
import { KINDS } from "./hosts.js";
import { LINES, h, percent, refill, scheduler, short, slider } from "./tools.js";

// Tokens, parameters and multiply-adds of one picture's forward pass: the formulas of vit_from_scratch.vit. `a`: the
// arguments of the ViT.
export function countCosts(a) {
  const { embed_dim: D, depth: L, num_classes: K, in_channels: C, patch_size: P } = a,
    hidden = Math.floor(a.mlp_ratio * D);
  const patches = [a.image_size, a.image_size].flat().slice(0, 2).reduce((n, side) => (n * side) / P, 1),
    prefix = (a.pool === "cls" ? 1 : 0) + a.num_registers,
    tokens = patches + prefix;
  const qkv = 3 * D * D + (a.qkv_bias ? 3 * D : 0),
    norms = 4 * D + (a.qk_norm ? (4 * D) / a.num_heads : 0),
    mlp = 2 * D * hidden;
  const around = D * (C * P * P + 1) + D * prefix + (a.pos_embed === "none" ? 0 : D * tokens) + 2 * D + (D + 1) * K;
  const finished = (L - 1) * tokens + (a.pool === "cls" ? 1 : tokens); // the last MLP needs only what is read
  return {
    tokens,
    parameters: around + L * (qkv + D * (D + 1) + norms + mlp + hidden + D),
    multiplyAdds:
      patches * C * P * P * D + L * (4 * tokens * D * D + 2 * tokens * tokens * D) + finished * mlp + D * K,
  };
}

// Why a ViT with these arguments cannot be, in the words of the package's settings, or "".
export function impossible({ image_size, patch_size, embed_dim, num_heads }) {
  if (embed_dim % num_heads) {
    const share = embed_dim / num_heads,
      near = Math.abs(share % 1) === 0.5 ? 2 * Math.round(share / 2) : Math.round(share);
    return (
      `Impossible: model.embed_dim=${embed_dim} does not split into model.num_heads=${num_heads} ` +
      `equal heads; nearest width: ${Math.max(1, near) * num_heads}.`
    );
  }
  const sides = [image_size].flat(),
    divides = (p) => sides.every((side) => side % p === 0);
  if (divides(patch_size)) return "";
  const fitting = Array.from({ length: Math.min(...sides) }, (_, i) => i + 1).filter(divides),
    distance = (p) => Math.abs(p - patch_size);
  const near = fitting.reduce((best, p) => (distance(p) < distance(best) ? p : best));
  return (
    `Impossible: model.image_size=${sides.join("x")} is not divisible by model.patch_size=${patch_size}; ` +
    `nearest patch size: ${near}.`
  );
}

function chart(title, unit, runs, pick, low) {
  // an SVG line chart: one colour per run
  const W = 420,
    H = 226,
    L = 44,
    R = 10,
    T = 24,
    B = 34,
    NS = "http://www.w3.org/2000/svg";
  const s = (tag, props, text) => {
    const n = document.createElementNS(NS, tag);
    for (const [k, v] of Object.entries(props)) n.setAttribute(k, v);
    if (text !== undefined) n.textContent = text;
    return n;
  };
  const series = runs.flatMap((run) => pick(run).map((line) => ({ ...line, colour: run.colour })));
  const xs = series.flatMap((l) => l.points.map((p) => p[0])),
    ys = series.flatMap((l) => l.points.map((p) => p[1])).filter(Number.isFinite);
  const x1 = Math.max(1, ...xs),
    y0 = low ?? Math.min(...ys, 0),
    y1 = Math.max(low === undefined ? 0.1 : 0, ...ys) || 1;
  const X = (x) => L + (x / x1) * (W - L - R),
    Y = (y) => T + (1 - (y - y0) / (y1 - y0)) * (H - T - B);
  const svg = s("svg", {
    viewBox: `0 0 ${W} ${H}`,
    role: "img",
    "aria-label":
      `${title}: ` +
      `${series.length ? series.map((l) => `${l.name} ${l.points.length} points`).join(", ") : "no runs yet"}`,
    class: "vfs-chart",
  });
  svg.append(s("text", { x: L, y: 14, class: "vfs-chart-title" }, title));
  for (let i = 0; i <= 4; i++) {
    const y = y0 + ((y1 - y0) * i) / 4;
    svg.append(
      s("line", { x1: L, x2: W - R, y1: Y(y), y2: Y(y), class: "vfs-gridline" }),
      s("text", { x: L - 6, y: Y(y) + 4, "text-anchor": "end" }, unit(y)),
    );
  }
  const steps = Math.min(5, Math.max(1, Math.round(x1)));
  for (let i = 0; i <= steps; i++) {
    const x = (x1 * i) / steps;
    svg.append(s("text", { x: X(x), y: H - 19, "text-anchor": "middle" }, +x.toFixed(1)));
  }
  svg.append(s("text", { x: (L + W - R) / 2, y: H - 5, "text-anchor": "middle" }, "epoch"));
  for (const line of series) {
    const points = line.points.filter((p) => Number.isFinite(p[1])),
      d = points.map((p, i) => `${i ? "L" : "M"}${X(p[0]).toFixed(1)} ${Y(p[1]).toFixed(1)}`).join("");
    svg.append(
      s("path", {
        d,
        fill: "none",
        stroke: line.colour,
        "stroke-width": line.bold ? 2.5 : 1.3,
        "stroke-opacity": line.bold ? 1 : 0.75,
        "data-points": points.length,
      }),
    );
    if (line.bold)
      for (const p of points) svg.append(s("circle", { cx: X(p[0]), cy: Y(p[1]), r: 3, fill: line.colour }));
  }
  return svg;
}

function playground(model, el, host) {
  const site = document.documentElement.dataset.content_root, // where the docs begin, in a page of them
    knobs = model.get("knobs"),
    controls = {},
    groups = {};
  const numbers = h("dl", { class: "vfs-numbers" }),
    problem = h("p", { class: "vfs-problem", role: "status" }),
    status = h("p", { class: "vfs-status", role: "status" });
  const train = h("button", { type: "button", class: "vfs-go", onclick: () => host.ask({ type: "train" }) }, "Train");
  const stop = h(
    "button",
    {
      type: "button",
      onclick: () => {
        stop.textContent = "Stopping…";
        host.ask({ type: "stop" });
      },
    },
    "Stop",
  );
  const charts = h("div", { class: "vfs-charts" }),
    table = h("table", { class: "vfs-table" }),
    hidden = new Set();
  const form = h("div", { class: "vfs-form" });
  for (const [key, label, options, group] of knobs) {
    const values = options.map(([v]) => v),
      text = (i) => options[i][1];
    controls[key] = [
      slider(label, 0, options.length - 1, 1, text, (i) =>
        host.put({ settings: { ...model.get("settings"), [key]: values[i] } }),
      ),
      values,
    ];
    (groups[group] ||= h("fieldset", {}, h("legend", {}, group))).append(controls[key][0].node);
  }
  form.append(...Object.values(groups));
  const cell = (text) => h("td", {}, text);
  el.append(
    form,
    h(
      "div",
      { class: "vfs-verdict" },
      numbers,
      problem,
      h("div", { class: "vfs-buttons needs-kernel" }, train, stop),
      status,
    ),
    h("div", { class: "needs-kernel" }, charts, h("div", { class: "vfs-scroll" }, table)),
    h(
      "p",
      { class: "vfs-offline" },
      "The costs are computed in this page. To train with these settings, open this notebook in JupyterLab and run its cells. ",
      site === undefined ? null : h("a", { href: `${site}training.html` }, "Watch a training, moment by moment."),
    ),
  );
  function settings() {
    const now = model.get("settings");
    for (const [key, [control, values]] of Object.entries(controls))
      control.set(
        Math.max(
          0,
          values.findIndex((v) => v === now[key]),
        ),
      );
  }
  function verdict() {
    const n = model.get("numbers"),
      chosen = { ...model.get("arguments"), ...model.get("settings") },
      wrong = impossible(chosen) || (host.live && n.problem) || "";
    const { tokens, parameters, multiplyAdds } = countCosts(chosen);
    const rows = [
      ["tokens per image", `${tokens}`],
      ["parameters", short(parameters).trim()],
      ["multiply-adds per image", short(multiplyAdds).trim()],
      ...(host.live ? (n.rows ?? []).slice(3) : []), // memory and time are this machine's: Python measures them
    ];
    numbers.replaceChildren(
      ...(wrong ? [] : rows).map(([label, value]) => h("div", {}, h("dt", {}, label), h("dd", {}, value))),
    );
    if (problem.textContent !== wrong) problem.textContent = wrong;
    problem.hidden = !wrong;
    numbers.classList.toggle("vfs-faded", !!wrong);
    busy();
  }
  function busy() {
    const on = model.get("busy"),
      text = model.get("status");
    train.hidden = on || !problem.hidden;
    stop.hidden = !on;
    if (!on) stop.textContent = "Stop";
    if (status.textContent !== text) status.textContent = text;
  }
  const all = () => {
    const live = model.get("current");
    return [...model.get("runs"), ...(live.name ? [live] : [])].map((r, i) => ({
      ...r,
      colour: LINES[i % LINES.length],
    }));
  };
  const draw = scheduler(() => {
    const runs = all(),
      visible = runs.filter((r) => !hidden.has(r.name));
    charts.replaceChildren(
      chart(
        "Loss (thin: training, dots: validation)",
        (y) => y.toFixed(2),
        visible,
        (r) => [
          { name: `${r.name} training`, points: r.train },
          { name: `${r.name} validation`, points: r.valid.map((v) => [v[0], v[1]]), bold: true },
        ],
      ),
      chart(
        "Validation accuracy",
        (y) => `${Math.round(100 * y)} %`,
        visible,
        (r) => [{ name: r.name, points: r.valid.map((v) => [v[0], v[2]]), bold: true }],
        0,
      ),
    );
    charts.hidden = table.hidden = !runs.length;
  });
  function list() {
    const runs = all();
    const columns = ["", "run", "setting", "parameters", "epochs", "best accuracy", "seconds", "status", ""];
    refill(
      table,
      h("caption", {}, "Runs, laid over each other above"),
      h("thead", {}, h("tr", {}, ...columns.map((c) => (c ? h("th", { scope: "col" }, c) : h("td", {}))))),
      h(
        "tbody",
        {},
        ...runs.map((r, i) => {
          const box = h("input", {
            type: "checkbox",
            "aria-label": `draw ${r.name}`,
            onchange: () => {
              if (box.checked) hidden.delete(r.name);
              else hidden.add(r.name);
              draw();
            },
          });
          box.checked = !hidden.has(r.name);
          const explore =
            r.status === "running"
              ? null
              : h(
                  "button",
                  {
                    type: "button",
                    class: "needs-kernel",
                    "data-run": i,
                    "aria-label": `Explore ${r.name}`,
                    onclick: () => host.ask({ type: "explore", run: i }),
                  },
                  "Explore",
                );
          return h(
            "tr",
            {},
            h("td", { class: "vfs-line" }, box, h("span", { class: "vfs-swatch", style: `background:${r.colour}` })),
            h("td", { class: "vfs-line" }, r.name),
            cell(r.summary),
            cell(short(r.parameters)),
            cell(r.valid.length),
            cell(r.valid.length ? percent(Math.max(...r.valid.map((v) => v[2]))) : "–"),
            cell(r.seconds.toFixed(1)),
            cell(r.status),
            h("td", {}, explore ?? ""),
          );
        }),
      ),
    );
    draw();
  }
  let rows = "",
    resting;
  function measure() {
    clearTimeout(resting);
    resting = setTimeout(() => {
      if (host.live && !model.get("busy")) host.ask({ type: "measure" });
    }, 700);
  }
  host.on("change:settings", () => {
    settings();
    verdict();
    measure();
  });
  host.on("change:numbers", verdict);
  host.on("change:busy", busy);
  host.on("change:status", busy);
  host.on("change:runs", list);
  host.on("change:current", () => {
    const c = model.get("current"),
      key = `${c.name}/${c.valid?.length}`;
    if (key !== rows) {
      rows = key;
      list();
    } else draw();
  });
  host.found = () => {
    verdict();
    list();
    measure();
  };
  settings();
  verdict();
  list();
}
KINDS.playground = playground;
