"use strict";
// Opened from a folder, pages may not read each other: search then lists titles without excerpts.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

document.addEventListener("DOMContentLoaded", () => {
  for (const heading of document.querySelectorAll(".caption[role=heading]:not([aria-level])")) heading.setAttribute("aria-level", "2");
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
