// What the words mean: three lines each, behind a "?" at every place where they stand.
import { h } from "./tools.js";

const MEANING = {
  patch:
    "The picture is cut into small squares, the patches. Each becomes one " +
    "token: a row of numbers. To the model a picture is a list of tokens.",
  CLS:
    "The class token is no part of the picture. It starts as the same numbers for every picture, " +
    "collects from the patches in every block, and at the end the answer is read from it alone.",
  "mean of all patches":
    "This model has no class token. After the last block the tokens of " +
    "all patches are averaged, and the answer is read from that mean.",
  register: "A token without a patch and without a say in the answer. The model may keep notes in it.",
  block:
    "One round of thinking: the tokens look at each other (attention), then each one " +
    "thinks for itself (the MLP). The blocks run one after the other, block 0 first.",
  head:
    "In every block several heads look at the same time, each with its own question. A tile " +
    "of the wall is one head: bright patches are those that the chosen token takes much from.",
  attention:
    "How much a token takes from each token in one head, in one block. The weights of a " +
    "row add up to 100 %. It shows where information moves, not yet what it is good for.",
  rollout:
    "Attention followed through all blocks up to the chosen one, the heads averaged (Abnar " +
    "& Zuidema 2020). It shows what could have arrived, and is the same for every class.",
  relevance:
    "Attention times the effect on one class, added up over the blocks (Chefer et " +
    "al. 2021). It asks: which patches speak for this class? Hide them to check.",
  "logit lens":
    "What the model would answer if it had to stop after this block, and read the answer from " +
    "this token. Early answers are often nonsense: the classifier was trained on the last block.",
  logit:
    "The score of a class before softmax turns the scores into probabilities. Only differences between scores count.",
};

// Move a note sideways until it lies inside its explorer.
function keepInside(note, mark) {
  const bounds = mark.closest(".vfs").getBoundingClientRect(),
    start = mark.parentNode.getBoundingClientRect().left,
    left = Math.min(start - 120, bounds.right - note.offsetWidth - 8);
  note.style.left = `${Math.max(bounds.left + 8, left) - start}px`;
}

// A "?" that shows three lines when pressed, and closes with Escape, another press, a press elsewhere or when the focus leaves.
export function help(word) {
  const note = h("span", { class: "vfs-note", role: "note", hidden: true }, MEANING[word]);
  const mark = h(
    "button",
    { type: "button", class: "vfs-help", "aria-expanded": "false", "aria-label": `What is ${word}?` },
    "?",
  );
  const box = h("span", { class: "vfs-help-box" }, mark, note);
  const show = (open) => {
    note.hidden = !open;
    mark.setAttribute("aria-expanded", String(open));
    const change = open ? "addEventListener" : "removeEventListener";
    document[change]("pointerdown", elsewhere, true);
    document[change]("keydown", escape, true);
    if (open) keepInside(note, mark);
  };
  const elsewhere = (event) => {
    if (!event.composedPath().includes(box)) show(false);
  };
  const escape = (event) => {
    if (event.key === "Escape") show(false);
  };
  mark.addEventListener("click", () => {
    const open = note.hidden;
    mark
      .getRootNode()
      .querySelectorAll(".vfs-help[aria-expanded='true']")
      .forEach((other) => other !== mark && other.click());
    show(open);
  });
  box.addEventListener("focusout", (event) => {
    if (!note.hidden && !box.contains(event.relatedTarget)) show(false);
  });
  return box;
}
