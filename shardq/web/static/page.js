"use strict";
// Renews what is marked as live once in a while, but never under the user's hands: not while text is selected, something
// in it has the focus or is ticked, or the page is hidden. A renewal that is still under way is not begun again.
(() => {
  const state = document.getElementById("state");
  let next = 0;

  const live = () => document.getElementById("live");
  const held = (part) => {
    const selection = document.getSelection();
    return (
      document.hidden ||
      (selection !== null && !selection.isCollapsed) ||
      part.contains(document.activeElement) ||
      part.querySelector("input[type=checkbox]:checked, details[open]") !== null
    );
  };
  const say = (name, text) => {
    if (state === null || state.textContent === text) return;
    state.dataset.is = name;
    state.textContent = text;
  };

  const beat = () => {
    const part = live();
    if (part === null || !part.hasAttribute("hx-get")) return;
    if (held(part)) {
      say("held", "Held while you select");
      return;
    }
    if (part.classList.contains("htmx-request") || Date.now() < next) return;
    next = Date.now() + 1000 * Number(part.dataset.every || 1);
    htmx.trigger(part, "renew");
  };

  document.addEventListener("htmx:beforeSwap", (event) => {
    // The user may have begun to select something since it was asked for.
    if (held(live())) event.detail.shouldSwap = false;
  });
  document.addEventListener("htmx:afterSwap", () => say("live", "Live"));
  document.addEventListener("htmx:responseError", (event) => {
    const isLetIn = event.detail.xhr.status !== 401;
    say("lost", isLetIn ? "The storage cannot be looked at" : "You are not let in any more");
  });
  for (const lost of ["htmx:sendError", "htmx:timeout"]) {
    document.addEventListener(lost, () => say("lost", "This page does not answer"));
  }
  document.addEventListener("change", (event) => {
    if (!event.target.matches("input[data-all]")) return;
    for (const box of document.querySelectorAll("input[name=id]")) box.checked = event.target.checked;
  });
  setInterval(beat, 250);
})();
