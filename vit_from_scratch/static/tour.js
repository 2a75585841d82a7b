// Eight stops that ask something; the reader answers by doing it. Every number in a reply is computed when it is
// said.
import { button, h, number, percent, refill, scheduler } from "./tools.js";

const FRESH = { hidden: [], off: [], skip: [], order: 0, target: null, method: "attention", about: -1, tool: "look" };

// How far to the right a head's patches look, on average, in patches; negative is left.
export function sideways(model, weights, head) {
  const { T, prefix, columns } = model;
  let moved = 0,
    total = 0;
  for (let t = prefix; t < T; t++)
    for (let s = prefix; s < T; s++) {
      const weight = weights[(head * T + t) * T + s];
      moved += weight * (((s - prefix) % columns) - ((t - prefix) % columns));
      total += weight;
    }
  return moved / total;
}

// After which block the answer's token says for good what it says in the end; −1: from the start.
export function turningBlock(lab) {
  const { L } = lab.model,
    winners = Array.from({ length: L + 1 }, (_, depth) => {
      const p = lab.lensAt(depth, lab.answerToken());
      return p.indexOf(Math.max(...p));
    });
  return winners.findLastIndex((k) => k !== winners[L]);
}

function everyHead(lab) {
  const list = [];
  lab.result.blocks.forEach((block, b) => {
    if (!block.skipped)
      for (let k = 0; k < lab.model.h; k++) list.push({ b, k, left: sideways(lab.model, block.weights, k) });
  });
  return list.sort((x, y) => x.left - y.left);
}

const before = (lab) =>
  lab.before ? lab.before.probabilities.indexOf(Math.max(...lab.before.probabilities)) : lab.winner();
const said = (lab) => `“${lab.model.classes[lab.winner()]}” (${percent(lab.result.probabilities[lab.winner()])})`;
const changedMind = (lab) => lab.before !== null && lab.winner() !== before(lab);
const named = (lab, k) => `“${lab.model.classes[k]}”`;

// Each stop: title, ask, set up, and `reply(lab)`: [solved, text]. An empty text: nothing was tried yet.
function tourStops(lab, data) {
  const first = { ...FRESH, image: data.first ?? 0 },
    { N, P, L } = lab.model,
    answerer = lab.tokenName(lab.answerToken()),
    oneToken = lab.model.pool === "cls" ? ", but from one extra token without a place in the picture" : " one by one";
  const stops = [
    {
      title: "What does it see?",
      setup: { ...first, token: null, block: null, head: "mean" },
      ask: () =>
        `This picture is ${N} patches of ${P} × ${P} pixels. The ` +
        `model says ${said(lab)}. Click a patch that you would look at.`,
      reply: () =>
        lab.state.token === null
          ? [false, ""]
          : [true, `Good. Now every tile of the wall shows where ${lab.tokenName(lab.token())} looks; bright is much.`],
    },
    {
      title: "A head has a habit",
      setup: { ...first, head: "mean", block: 0 },
      ask: () =>
        "Each tile is one head. Some heads do the same whatever the picture shows. Find a " +
        "head whose patches look to the left: click tiles, then point at several patches.",
      reply: () => {
        const { state } = lab,
          block = lab.result.blocks[lab.block()];
        if (state.head === "mean" || block.skipped) return [false, ""];
        const all = everyHead(lab),
          mine = sideways(lab.model, block.weights, state.head),
          rank = all.findIndex(({ b, k }) => b === lab.block() && k === state.head),
          good = mine < 0 && rank < all.length / 5;
        const side =
          `in block ${lab.block()}, head ${state.head}, patches look ` +
          `${number(Math.abs(mine), 2)} patches to the ${mine < 0 ? "left" : "right"} on average`;
        return good
          ? [true, `Yes: ${side}. Of ${all.length} heads, ${rank} look further left on this picture.`]
          : [false, `Not yet: ${side}. Of ${all.length} heads, ${rank} look further left.`];
      },
    },
    {
      title: "The one that answers",
      setup: { ...first, token: lab.model.prefix + Math.floor(N / 2), block: L - 1, head: "mean" },
      ask: () =>
        `The answer is not read from the patches that you clicked${oneToken}. ` +
        `Choose it below the picture, and look where it looks.`,
      reply: () =>
        lab.state.token === null || lab.state.token === lab.answerToken()
          ? [true, `This is ${answerer}: all that the model can answer with has arrived here, block by block.`]
          : [false, ""],
    },
    {
      title: "When does it know?",
      setup: { ...first, token: null, block: 0, head: "mean" },
      ask: () =>
        `The lines show what would be answered after each block. Choose ` +
        `the block after which ${named(lab, lab.winner())} leads for good.`,
      reply: () => {
        const turn = Math.max(0, turningBlock(lab)),
          block = lab.state.block ?? L - 1;
        if (block === turn)
          return [true, `Yes: after block ${turn} and all later ones ${named(lab, lab.winner())} leads.`];
        return [
          false,
          block === 0
            ? ""
            : block < turn
              ? "Too early: another class still leads after a later block."
              : "Too late: it led already.",
        ];
      },
    },
    {
      title: "What does it need?",
      setup: { ...first, token: null, block: null, head: "mean", tool: "hide" },
      ask: () =>
        `Attention shows where it looks; hiding shows what it needs. Guess how many ` +
        `of the ${N} patches it takes, then hide patches until the answer changes.`,
      reply: () =>
        !lab.state.hidden.length
          ? [false, ""]
          : changedMind(lab)
            ? [true, `${lab.state.hidden.length} of ${N} patches hidden, and it says ${said(lab)}.`]
            : [false, `${lab.state.hidden.length} hidden: still ${said(lab)}.`],
    },
    {
      title: "Does order matter?",
      setup: { ...first, token: null, block: null, head: "mean" },
      ask: () =>
        "All patches stay, only their places change. Will the answer survive? Make a guess, then shuffle the patches.",
      reply: () =>
        !lab.state.order
          ? [false, ""]
          : [
              true,
              changedMind(lab)
                ? `It now says ${said(lab)}: where a patch stands matters to this model.`
                : `It still says ${said(lab)}, before ${percent(Math.max(...lab.before.probabilities))}. ` +
                  `Shuffle again to see whether that was luck.`,
            ],
    },
    {
      title: "How many parts can fail?",
      setup: { ...first, token: null, block: null, head: "mean" },
      ask: () => "Tick the box below the wall, and switch heads or whole blocks off until the answer changes.",
      reply: () => {
        const count = lab.state.off.length + lab.state.skip.length;
        return !count
          ? [false, ""]
          : changedMind(lab)
            ? [true, `${count} switched off, and it says ${said(lab)}.`]
            : [false, `${count} off: still ${said(lab)}. Blocks do more than heads.`];
      },
    },
  ];
  if (data.puzzle == null) return stops;
  const label = lab.label(data.puzzle),
    setup = { ...FRESH, image: data.puzzle, token: null, block: null, head: "mean", method: "relevance", tool: "hide" };
  stops.push({
    title: "A puzzle",
    setup,
    ask: () =>
      `The label of this picture is ${named(lab, label)}, and the model says ${named(lab, before(lab))}. ` +
      `Why? The map shows which patches speak for what it says. ` +
      `Hide some of them, look what it says without, and see under the pictures which class it nearly said.`,
    reply: () => {
      if (!lab.state.hidden.length) return [false, ""];
      if (!changedMind(lab)) return [false, `${lab.state.hidden.length} hidden: still ${said(lab)}.`];
      const right = lab.winner() === label;
      return [
        true,
        `Without ${lab.state.hidden.length === 1 ? "that patch" : `those ${lab.state.hidden.length} patches`} ` +
          `it says ${said(lab)}${right ? ", the label" : ""}. So ` +
          `${named(lab, before(lab))} hung on what you hid. Now try your own picture.`,
      ];
    },
  });
  return stops;
}

export function tourView(lab, data) {
  const stops = tourStops(lab, data),
    box = h("div", { class: "vfs-tour", role: "region", "aria-label": "Tour" }),
    solved = new Set();
  const reply = h("p", { class: "vfs-reply", "aria-live": "polite" });
  function go(number) {
    lab.set({ tour: number, ...(number ? stops[number - 1].setup : FRESH) });
    draw();
    box.querySelector("h2")?.focus();
  }
  function draw() {
    const { tour } = lab.state,
      stop = stops[tour - 1];
    if (!stop) {
      refill(
        box,
        h("h2", { tabindex: -1 }, "New to this?"),
        h("p", {}, `A tour of ${stops.length} stops: each one asks something, and you find out by doing it.`),
        h(
          "div",
          { class: "vfs-buttons" },
          button("Start the tour", () => go(1), { class: "vfs-go" }),
        ),
      );
      return;
    }
    const [done, text] = lab.ready() ? stop.reply() : [solved.has(tour), reply.textContent];
    if (done) solved.add(tour);
    if (reply.textContent !== text) reply.textContent = text;
    reply.classList.toggle("vfs-solved", done);
    if (!lab.result) return;
    refill(
      box,
      h("h2", { tabindex: -1 }, `${tour} of ${stops.length}: ${stop.title}`),
      h("p", {}, stop.ask()),
      reply,
      h(
        "div",
        { class: "vfs-buttons" },
        button("← Back", () => go(tour - 1)),
        tour < stops.length
          ? button(solved.has(tour) ? "Next →" : "Skip →", () => go(tour + 1), {
              class: solved.has(tour) ? "vfs-go" : "",
            })
          : null,
        button("End the tour", () => go(0)),
        h(
          "span",
          { class: "vfs-dots", "aria-hidden": "true" },
          stops.map((_, i) => h("i", { class: i + 1 === tour ? "now" : solved.has(i + 1) ? "done" : "" })),
        ),
      ),
    );
  }
  const redraw = scheduler(draw);
  lab.on((changed) => {
    if (!changed.includes("hover")) redraw();
  });
  draw();
  return box;
}
