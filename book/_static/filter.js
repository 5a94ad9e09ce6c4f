/* A search box above every table inside `div.mstl-filter`: rows that hold all words of it stay. */
(() => {
  "use strict";
  function filter(box) {
    const rows = [...box.querySelectorAll("tbody tr")];
    const texts = rows.map((row) => row.textContent.toLowerCase());
    const input = Object.assign(document.createElement("input"), { type: "search", placeholder: box.dataset.hint || "" });
    const label = Object.assign(document.createElement("label"), { className: "mstl-field", textContent: "Search " });
    const count = Object.assign(document.createElement("p"), { className: "mstl-status" });
    count.setAttribute("role", "status");
    label.append(input);
    const apply = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, i) => {
        row.hidden = !words.every((word) => texts[i].includes(word));
        shown += !row.hidden;
      });
      count.textContent = `${shown} of ${rows.length} rows`;
    };
    input.addEventListener("input", apply);
    box.prepend(label, count);
    apply();
  }
  const start = () => document.querySelectorAll(".mstl-filter").forEach((box) => box.querySelector("tbody") && filter(box));
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();
