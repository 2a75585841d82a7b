"use strict";
// Opened from a folder, pages may not read each other: search then lists titles without excerpts.
if (location.protocol === "file:" && window.DOCUMENTATION_OPTIONS) DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

document.addEventListener("DOMContentLoaded", () => {
  // What scrolls sideways must be reachable with the keyboard.
  const mark = () => {
    for (const box of document.querySelectorAll("article pre, article .table-wrapper, article .output, .math, mjx-container[display]")) {
      if (box.scrollWidth > box.clientWidth + 1 && !box.hasAttribute("tabindex")) box.tabIndex = 0;
    }
  };
  mark();
  window.addEventListener("load", mark);
  window.addEventListener("resize", mark);
  document.addEventListener("toggle", mark, true);
});
