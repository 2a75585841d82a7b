// Eight stops that ask something; the reader answers by doing it. Every number in a reply is computed when it is
// said.
import { orderOf } from "./lab.js";
import { toCanvas } from "./picture.js";
import { button, h, percent, refill, scheduler, setText, touches } from "./tools.js";

const FRESH = {
  ...{ hidden: [], off: [], skip: [], order: 0, target: null, method: "attention", about: -1 },
  ...{ tool: "look", photo: false, switching: false },
};

// The share of its patches' attention that a head gives to the patch itself and its neighbours; without a head: the
// share if attention were even.
export function nearbyShare(model, weights, head) {
  const { T, prefix, columns } = model,
    at = (t) => [Math.floor((t - prefix) / columns), (t - prefix) % columns];
  let near = 0,
    all = 0;
  for (let t = prefix; t < T; t++)
    for (let s = prefix; s < T; s++) {
      const weight = weights ? weights[(head * T + t) * T + s] : 1,
        [[y, x], [v, u]] = [at(t), at(s)];
      if (Math.abs(y - v) <= 1 && Math.abs(x - u) <= 1) near += weight;
      all += weight;
    }
  return near / all;
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
      for (let k = 0; k < lab.model.h; k++) list.push({ b, k, near: nearbyShare(lab.model, block.weights, k) });
  });
  return list.sort((x, y) => y.near - x.near);
}

const before = (lab) =>
  lab.before ? lab.before.probabilities.indexOf(Math.max(...lab.before.probabilities)) : lab.winner();
const said = (lab) => !lab.current() ? "… (computing)" : `“${lab.model.classes[lab.winner()]}” (${percent(lab.result.probabilities[lab.winner()])})`;
const changedMind = (lab) => lab.before !== null && lab.winner() !== before(lab);
const named = (lab, k) => `“${lab.model.classes[k]}”`;
export const PUZZLE = 8; // the number of the puzzle, the last stop
const SEVERAL = 3; // patches to point at before a habit counts as seen
const CLEARLY = 2; // times what even attention would give, from which on a head counts as one that stays near

// Each stop: title, about (the part of the page it speaks of), ask, set up, and `reply(lab)`: [solved, text, outcome]. An
// empty text: nothing was tried yet. `outcome`: which guess was right, and what was found, in words.
function tourStops(lab, data) {
  const first = { ...FRESH, image: data.first ?? 0 },
    { N, P, L } = lab.model,
    answerer = lab.tokenName(lab.answerToken()),
    oneToken = lab.model.pool === "cls" ? ", but from one extra token without a place in the picture" : " one by one";
  const followed = new Set(); // the patches pointed at since the head on show was chosen
  const stops = [
    {
      title: "What does it see?",
      about: ".vfs-picture",
      setup: { ...first, token: null, block: null, head: "mean" },
      ask: () =>
        `This picture is ${N} patches of ${P} × ${P} pixels. The ` +
        `model says ${said(lab)}. ${touches() ? "Tap" : "Click"} a patch that you would look at.`,
      reply: () =>
        lab.state.token === null
          ? [false, ""]
          : [true, `Good. Now every tile of the wall shows where ${lab.tokenName(lab.token())} looks; bright is much.`],
    },
    {
      title: "A head has a habit",
      about: ".vfs-wall-side",
      setup: { ...first, head: "mean", block: 0 },
      watch: (changed) => {
        const at = changed.includes("hover") ? lab.hovered : changed.includes("token") ? lab.state.token : null;
        if (changed.some((key) => ["model", "block", "head", "tour"].includes(key))) followed.clear();
        if (lab.state.head !== "mean" && at !== null && at >= lab.model.prefix) followed.add(at);
        return followed.size === SEVERAL;
      },
      ask: () =>
        "Each tile is one head: it looks with its own question, and so decides from which patches a token " +
        "takes. Some do the same whatever the picture shows. Find a head whose patches look close around " +
        "themselves: choose a tile, then point at several patches; the bright spot should follow.",
      reply: () => {
        const { state } = lab,
          block = lab.result.blocks[lab.block()];
        if (state.head === "mean" || block.skipped) return [false, ""];
        const all = everyHead(lab),
          even = nearbyShare(lab.model, null),
          mine = nearbyShare(lab.model, block.weights, state.head),
          rank = all.findIndex(({ b, k }) => b === lab.block() && k === state.head),
          good = mine >= CLEARLY * even && rank < all.length / 4;
        const share =
          `in block ${lab.block()}, head ${state.head}, patches take ${percent(mine)} from themselves and the ` +
          `patches around them; evenly it would be ${percent(even)}. Of ${all.length} heads, ${rank} stay nearer`;
        if (!good) return [false, `Not clearly: ${share}.`];
        return followed.size < SEVERAL
          ? [false, `It may be one: ${share}. Point at several patches: does the bright spot follow?`]
          : [true, `Yes: ${share}. See whether it stays so on other pictures.`];
      },
    },
    {
      title: "The one that answers",
      about: ".vfs-picture",
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
      about: ".vfs-lens-lines",
      setup: { ...first, token: null, block: 0, head: "mean" },
      ask: () =>
        `The lines show what would be answered after each block. Choose ` +
        `the block after which ${lab.current() ? named(lab, lab.winner()) : "the answer"} leads for good: ` +
        `click the chart, or a block's number.`,
      reply: () => {
        const turn = Math.max(0, turningBlock(lab)),
          { block } = lab.state;
        if (block === null) return [false, ""]; // a link to this stop chose none
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
      about: ".vfs-picture",
      setup: { ...first, token: null, block: null, head: "mean", tool: "hide" },
      ask: () =>
        `Attention shows where it looks; hiding shows what it needs. How many of the ${N} patches does ` +
        `it take? Guess, then hide patches until the answer changes: ` +
        (touches() ? "tap them." : "click them, drag, or hold Shift and press the arrow keys."),
      guesses: ["1 to 5", "6 to 15", "16 to 32", "more than 32"],
      reply: () =>
        !lab.state.hidden.length
          ? [false, ""]
          : changedMind(lab)
            ? [
                true,
                `${lab.state.hidden.length} of ${N} patches hidden, and it says ${said(lab)}, no longer ${named(lab, before(lab))}.`,
                { right: [5, 15, 32, N].findIndex((most) => lab.state.hidden.length <= most), words: `it took ${lab.state.hidden.length}` },
              ]
            : [false, `${lab.state.hidden.length} hidden: still ${said(lab)}.`],
    },
    {
      title: "Does order matter?",
      about: ".vfs-picture",
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
                ? `It now says ${said(lab)}. The same patches in other places give another answer: this model reads ` +
                  `order, too, for each patch carries its position.`
                : `It still says ${said(lab)}, before ${percent(Math.max(...lab.before.probabilities))}. What the patches ` +
                  `show is enough here, whatever their order. Shuffle again to see whether that was luck.`,
              { right: changedMind(lab) ? 1 : 0, words: changedMind(lab) ? "it changed" : "it stayed" },
            ],
    },
    {
      title: "How many parts can fail?",
      about: ".vfs-wall-side",
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
            ? [
                true,
                `${count} switched off, and it says ${said(lab)}, no longer ${named(lab, before(lab))}.`,
                { right: [3, 8, Infinity].findIndex((most) => count <= most), words: `it took ${count}` },
              ]
            : [false, `${count} off: still ${said(lab)}. Whole blocks can be switched off, too.`];
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
      const lens = lab.lens.map((_, depth) => lab.lensAt(depth, lab.answerToken())[label]).slice(1); // after the blocks
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
    return [true, `Of the three tests only “${fell[0].act}” takes “${name(says)}” away. Below them: what follows, and one more.`];
  }
  // What the three tests say together, once they are made.
  function conclusion(guess) {
    if (!found.every(Boolean)) return "";
    const fell = tests.filter((_, i) => found[i].says !== says),
      name = (k) => lab.model.classes[k];
    if (fell.length !== 1) return "";
    const held = tests[guess] === fell[0] ? "the tests bear it out" : "the tests speak against it";
    const belief = tests[guess] ? ` You believed: ${tests[guess].belief.split(":")[0].toLowerCase()}; ${held}.` : "";
    return (
      `${fell[0].because} After each block the model can be asked: “${name(says)}” leads ${whole.turn === lab.model.L - 1 ? "after the last one alone" : `from block ${whole.turn} on`}, and ` +
      `“${name(label)}” never gets more than ${percent(whole.most)}.${alone ? ` ${more.because}` : ""}${belief}`
    );
  }
  return {
    title: "A puzzle",
    about: ".vfs-tests",
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
    guessed = new Map(),
    outcomes = new Map(); // by stop: which guess was right, and what was found first
  lab.asksWhen = () => {
    const at = stops.findIndex(({ title }) => title === "When does it know?") + 1;
    return lab.state.tour > 0 && lab.state.tour <= at && !solved.has(at); // the chart does not give the answer away
  };
  const reply = h("p", { class: "vfs-reply", "aria-live": "polite" }),
    seen = h("canvas", { class: "vfs-seen", "aria-hidden": "true" }); // what the model reads now
  function go(number) {
    setText(reply, "");
    lab.set({ ...(stops[number - 1]?.setup ?? FRESH), tour: number });
    draw();
    box.querySelector("h2")?.focus({ preventScroll: true });
    bringIntoView(stops[number - 1]?.about);
  }
  // The card and what it speaks of; where there is no room for both, the part, below the bar that keeps the task.
  function bringIntoView(about) {
    const part = about && lab.root.querySelector(about),
      from = box.getBoundingClientRect().top;
    const fits = !part || part.getBoundingClientRect().bottom - from < innerHeight,
      covered = parseFloat(getComputedStyle(bar).top) || 0;
    bar.classList.toggle("vfs-alone", !fits); // the bar as high as it will be
    const at = fits ? from - 8 : part.getBoundingClientRect().top - bar.offsetHeight - covered - 8;
    scrollBy({ top: at - (fits ? covered : 0) });
  }
  // New content only where it differs, so that a focused heading stays focused.
  function put(...nodes) {
    const next = h("div", {}, nodes.flat()),
      heading = box.querySelector("h2");
    if (next.innerHTML === box.innerHTML) return;
    const focused = heading !== null && heading === box.getRootNode().activeElement;
    refill(box, ...next.childNodes);
    if (focused) box.querySelector("h2").focus({ preventScroll: true });
  }
  const chooser = (tour) => (i) => {
    guessed.set(tour, i);
    redraw();
  };
  // In the bar, beside what it is about, until something was tried.
  function guessBox(stop, tour) {
    const choose = chooser(tour);
    if (!stop.guesses || (guessed.has(tour) && reply.textContent) || solved.has(tour)) return [];
    const options = stop.guesses.map((text, i) =>
      h(
        "label",
        { class: "vfs-tick" },
        h("input", {
          type: "radio",
          name: "vfs-guess",
          checked: guessed.get(tour) === i,
          onchange: () => choose(i),
        }),
        h("span", {}, text),
      ),
    );
    return [h("fieldset", { class: "vfs-guess" }, h("legend", {}, "Your guess"), options)];
  }
  function remembered(stop, tour) {
    const guess = guessed.get(tour),
      outcome = outcomes.get(tour);
    if (!outcome || !stop.guesses?.[guess]) return "";
    const verdict = guess === outcome.right ? "right" : "wrong";
    return ` You guessed “${stop.guesses[guess].toLowerCase()}”: ${verdict}, ${outcome.words}.`;
  }
  function welcome() {
    const again = solved.size > 0;
    return [
      h("h2", { tabindex: -1 }, again ? "Once more?" : "New to this?"),
      h("p", {}, `A tour of ${stops.length} stops: each one asks something, and you find out by doing it.`),
      h(
        "div",
        { class: "vfs-buttons" },
        button(again ? "Take the tour again" : "Start the tour", start, { class: "vfs-go" }),
      ),
    ];
  }
  function start() {
    for (const memory of [solved, guessed, outcomes]) memory.clear();
    go(1);
  }
  function farewell() {
    const links = (data.onward ?? []).map(([text, href]) => h("a", { href }, text));
    return [
      h("h2", { tabindex: -1 }, "You have finished the tour"),
      h(
        "p",
        {},
        `${solved.size} of ${stops.length} stops answered. They were about where the heads look, which token answers, after ` +
          "which block it knows, what it needs of the picture and of its own parts, and that looking is not yet needing.",
      ),
      h("p", {}, "What next? Bring your own picture (the button is below the large one) and try the same on it."),
      links.length ? h("p", {}, ...links.flatMap((link, i) => (i ? [" ", link] : [link]))) : null,
      h("div", { class: "vfs-buttons" }, button("Take the tour again", start), button("Close", () => go(0))),
    ].filter(Boolean);
  }
  function draw() {
    const { tour } = lab.state,
      stop = stops[tour - 1];
    bar.hidden = !stop;
    if (!stop) return put(tour > stops.length ? farewell() : welcome());
    stop.look?.();
    const [done, text, outcome] = lab.ready() ? stop.reply() : [false, lab.current() ? null : lab.waiting()];
    if (done && !solved.has(tour)) {
      solved.add(tour);
      lab.show(["solved"]); // the chart may say it now
    }
    if (outcome && !outcomes.has(tour)) outcomes.set(tour, outcome);
    if (text !== null) setText(reply, text && text + (done ? remembered(stop, tour) : ""));
    if (text !== null) reply.classList.toggle("vfs-solved", done);
    bar.classList.toggle("vfs-fresh", reply.textContent === "");
    reply.classList.toggle("vfs-right", done && (!stop.guesses || guessed.get(tour) === outcomes.get(tour)?.right));
    const title = h("h2", { tabindex: -1 }, `${tour} of ${stops.length}: ${stop.title}`);
    const head = h("div", { class: "vfs-tour-head" }, title, button("End the tour", () => go(0)));
    put(head, h("p", {}, stop.ask()), stop.extra?.(guessed.get(tour), chooser(tour)) ?? []);
    const dots = stops.map((_, i) => h("i", { class: i + 1 === tour ? "now" : solved.has(i + 1) ? "done" : "" })),
      way = { class: done || (text === null && reply.matches(".vfs-solved")) ? "vfs-go" : "" },
      on = tour < stops.length ? "Next →" : "Finish →";
    refill(
      bar,
      h("p", { class: "vfs-task" }, h("b", {}, title.textContent), ` ${stop.ask()}`),
      ...guessBox(stop, tour),
      h("p", { class: "vfs-quiet", hidden: reply.textContent !== "" }, "Nothing tried yet."),
      reply,
      h(
        "div",
        { class: "vfs-buttons" },
        toCanvas(lab.model, lab.seen(), seen),
        h("span", { class: "vfs-says" }, lab.current() ? `It says ${said(lab)}` : lab.waiting()),
        button("← Back", () => go(tour - 1)),
        button(solved.has(tour) ? on : "Skip →", () => go(tour + 1), way),
        h("span", { class: "vfs-dots", "aria-hidden": "true" }, dots),
      ),
    );
  }
  const redraw = scheduler(draw);
  lab.on((changed) => {
    const seenEnough = stops[lab.state.tour - 1]?.watch?.(changed);
    if (seenEnough || !changed.includes("hover")) redraw();
  });
  draw();
  // The task stands in the bar only while the card is out of sight.
  new IntersectionObserver(([seenNow]) => bar.classList.toggle("vfs-alone", !seenNow.isIntersecting)).observe(box);
  return [box, bar];
}
