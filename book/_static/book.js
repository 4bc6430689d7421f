/* Opened from disk, a page may not read another one: there the search shows titles only. */
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

/* A diagram that is wider than its box is reached, and moved, by keys. */
addEventListener("DOMContentLoaded", () => {
  const reach = new ResizeObserver(boxes => boxes.forEach(({target}) =>
    target.scrollWidth > target.clientWidth ? target.setAttribute("tabindex", "0") : target.removeAttribute("tabindex")
  ));
  document.querySelectorAll(".wide").forEach(box => reach.observe(box));
});
