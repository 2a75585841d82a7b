// Eight stops that ask something; the reader answers by doing it. Every number in a reply is computed when it is
// said.
import { orderOf } from "./lab.js";
import { toCanvas } from "./picture.js";
import { button, h, number, percent, refill, scheduler, setText } from "./tools.js";

const FRESH = {
  ...{ hidden: [], off: [], skip: [], order: 0, target: null, method: "attention", about: -1 },
  ...{ tool: "look", photo: false, switching: false },
};

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
        `Attention shows where it looks; hiding shows what it needs. How many of the ${N} patches does ` +
        `it take? Guess, then hide patches until the answer changes: click them, or drag with the mouse.`,
      guesses: ["1 to 5", "6 to 15", "16 to 32", "more than 32"],
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
        "All patches stay, only their places change. Will the answer survive? Guess, then shuffle the patches.",
      guesses: ["It stays", "It changes"],
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
      ask: () =>
        "How many heads and blocks can it do without? Guess. Then tick the box below " +
        "the wall, and switch heads or whole blocks off until the answer changes.",
      guesses: ["1 to 3", "4 to 8", "more than 8"],
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
  if (data.puzzle) stops.push(puzzleStop(lab, data.puzzle));
  return stops;
}

// A wrong answer with three explanations, each of which can be tested by hiding what it speaks of. `puzzle`: image,
// says (the wrong class), label, and tests: { belief, act, hidden } or { belief, act, from, number } for a random draw.
function puzzleStop(lab, puzzle) {
  const { says, label, tests, more } = puzzle,
    found = tests.map(() => null);
  let whole = null, // what the model makes of the picture as it is
    draws = 0,
    alone = null;
  const same = (x, y) => x.length === y.length && x.every((n) => y.includes(n));
  const draw = ({ from, number: count }, serial) =>
    orderOf(serial, from.length)
      .slice(0, count)
      .map((i) => from[i]);
  const patchesOf = (test, serial) => [...(test.hidden ?? draw(test, serial))].sort((a, b) => a - b);
  const now = () => ({ says: lab.winner(), share: lab.result.probabilities[says] });
  const outcome = ({ says: winner, share }) =>
    `${lab.model.classes[says]} ${percent(whole.share)} → ${percent(share)}: ` +
    (winner === says ? `still ${lab.model.classes[says]}` : `it says ${lab.model.classes[winner]}`);

  function look() {
    const { hidden } = lab.state;
    if (!lab.ready() || lab.state.image !== puzzle.image) return;
    if (!hidden.length) {
      const lens = lab.lens.map((_, depth) => lab.lensAt(depth, lab.answerToken())[label]);
      whole = { ...now(), turn: Math.max(0, turningBlock(lab)), most: Math.max(...lens) };
    }
    if (!whole) return;
    tests.forEach((test, i) => {
      const wanted = patchesOf(test, draws || 1);
      if (same(hidden, wanted)) found[i] = now();
    });
    if (same(hidden, more.hidden)) alone = now();
  }
  function row(test, i, guess, choose) {
    const act = () => {
      if (test.from) draws += 1;
      lab.set({ hidden: patchesOf(test, draws), tool: "hide" });
    };
    return h(
      "li",
      {},
      h(
        "label",
        { class: "vfs-tick" },
        h("input", { type: "radio", name: "vfs-belief", checked: guess === i, onchange: () => choose(i) }),
        h("span", {}, test.belief),
      ),
      button(test.act, act),
      h("b", {}, found[i] ? outcome(found[i]) : ""),
    );
  }
  function verdict() {
    const tried = found.filter(Boolean).length,
      name = (k) => lab.model.classes[k];
    if (!tried) return [false, ""];
    if (tried < tests.length) return [false, `${tried} of ${tests.length} tested.`];
    const fell = tests.filter((_, i) => found[i].says !== says);
    if (fell.length !== 1) return [true, `${fell.length} of ${tests.length} take “${name(says)}” away.`];
    return [true, `Of the three tests only “${fell[0].act}” takes “${name(says)}” away.`];
  }
  // What the three tests say together, once they are made.
  function conclusion(guess) {
    if (!found.every(Boolean)) return "";
    const fell = tests.filter((_, i) => found[i].says !== says),
      name = (k) => lab.model.classes[k];
    if (fell.length !== 1) return "";
    const belief = tests[guess] ? ` You believed: ${tests[guess].belief.split(":")[0].toLowerCase()}.` : "";
    return (
      `${fell[0].because} After each block the model can be asked: “${name(says)}” leads from block ${whole.turn} on, and ` +
      `“${name(label)}” never gets more than ${percent(whole.most)}.${alone ? ` ${more.because}` : ""}${belief}`
    );
  }
  return {
    title: "A puzzle",
    setup: {
      ...{ ...FRESH, image: puzzle.image, token: null, block: null, head: "mean" },
      ...{ method: "relevance", about: says, tool: "hide" },
    },
    ask: () =>
      `The picture's label is ${named(lab, label)}. The model says ${named(lab, says)}` +
      (whole ? `, ${percent(whole.share)}, and gives ${named(lab, label)} almost nothing` : "") +
      ". Why is it wrong? Choose the explanation that you believe, then test all three: each button hides patches.",
    look,
    extra: (guess, choose) => [
      h(
        "ul",
        { class: "vfs-tests" },
        tests.map((test, i) => row(test, i, guess, choose)),
        found.every(Boolean)
          ? h(
              "li",
              {},
              h("span", {}, more.question),
              button(more.act, () => lab.set({ hidden: more.hidden })),
              h("b", {}, alone ? outcome(alone) : ""),
            )
          : null,
      ),
      h("p", { class: "vfs-conclusion" }, conclusion(guess)),
      button("Show the whole picture", () => lab.set({ hidden: [] })),
    ],
    reply: verdict,
  };
}

// The tour's box, and a bar that stays in sight: the reply, what the model says now, and the way on.
export function tourView(lab, data) {
  const stops = tourStops(lab, data),
    box = h("div", { class: "vfs-tour", role: "region", "aria-label": "Tour" }),
    bar = h("div", { class: "vfs-tour-bar", role: "region", "aria-label": "Tour: reply and next stop" }),
    solved = new Set(),
    guessed = new Map();
  const reply = h("p", { class: "vfs-reply", "aria-live": "polite" }),
    seen = h("canvas", { class: "vfs-seen", "aria-hidden": "true" }); // what the model reads now
  function go(number) {
    lab.set({ ...(number ? stops[number - 1].setup : FRESH), tour: number });
    draw();
    box.querySelector("h2")?.focus();
  }
  function guessBox(stop, tour) {
    const choose = (i) => {
      guessed.set(tour, i);
      redraw();
    };
    if (stop.extra) return stop.extra(guessed.get(tour), choose);
    if (!stop.guesses) return [];
    const options = stop.guesses.map((text, i) =>
      h(
        "label",
        { class: "vfs-tick" },
        h("input", {
          type: "radio",
          name: "vfs-guess",
          checked: guessed.get(tour) === i,
          disabled: solved.has(tour),
          onchange: () => choose(i),
        }),
        h("span", {}, text),
      ),
    );
    return [h("fieldset", { class: "vfs-guess" }, h("legend", {}, "Your guess"), options)];
  }
  function remembered(stop, tour) {
    const guess = guessed.get(tour);
    return stop.guesses?.[guess] && solved.has(tour) ? ` You guessed: ${stop.guesses[guess].toLowerCase()}.` : "";
  }
  function draw() {
    const { tour } = lab.state,
      stop = stops[tour - 1];
    bar.hidden = !stop;
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
    stop.look?.();
    const [done, text] = lab.ready() ? stop.reply() : [solved.has(tour), null];
    if (done) solved.add(tour);
    if (text !== null) setText(reply, text && text + remembered(stop, tour));
    reply.classList.toggle("vfs-solved", done);
    if (!lab.result) return;
    const title = h("h2", { tabindex: -1 }, `${tour} of ${stops.length}: ${stop.title}`);
    const head = h("div", { class: "vfs-tour-head" }, title, button("End the tour", () => go(0)));
    refill(box, head, h("p", {}, stop.ask()), guessBox(stop, tour));
    const dots = stops.map((_, i) => h("i", { class: i + 1 === tour ? "now" : solved.has(i + 1) ? "done" : "" })),
      way = { class: solved.has(tour) ? "vfs-go" : "" };
    refill(
      bar,
      h("p", { class: "vfs-quiet", hidden: reply.textContent !== "" }, `${title.textContent}: nothing tried yet.`),
      reply,
      h(
        "div",
        { class: "vfs-buttons" },
        toCanvas(lab.model, lab.seen(), seen),
        h("span", { class: "vfs-says" }, `It says ${said(lab)}`),
        button("← Back", () => go(tour - 1)),
        tour < stops.length ? button(solved.has(tour) ? "Next →" : "Skip →", () => go(tour + 1), way) : null,
        h("span", { class: "vfs-dots", "aria-hidden": "true" }, dots),
      ),
    );
  }
  const redraw = scheduler(draw);
  lab.on((changed) => {
    if (!changed.includes("hover")) redraw();
  });
  draw();
  return [box, bar];
}
