"use strict";
(() => {
  const table = document.getElementById("prompt-table");
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const filters = document.getElementById("filters");
  const count = document.getElementById("count");

  const valueOf = (name) => (filters.elements[name] ? filters.elements[name].value : "");

  function matches(row) {
    const words = valueOf("text").toLowerCase().split(/\s+/).filter(Boolean);
    const text = row.dataset.text.toLowerCase();
    const change = Number(row.dataset.change0 || 0);
    return words.every((word) => text.includes(word))
      && (!valueOf("skill") || row.dataset.skill === valueOf("skill"))
      && (valueOf("change") !== "better" || change > 0)
      && (valueOf("change") !== "worse" || change < 0);
  }

  function filterRows() {
    let shown = 0;
    for (const row of rows) {
      row.hidden = !matches(row);
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = `${shown} of ${rows.length}`;
  }

  function sortBy(button) {
    const key = button.dataset.key;
    const isText = key === "text" || key === "skill";
    const previous = button.getAttribute("aria-sort");
    const descending = previous ? previous === "ascending" : !isText;
    for (const other of table.querySelectorAll("button[aria-sort]")) other.removeAttribute("aria-sort");
    button.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const value = (row) => (isText ? row.dataset[key] : Number(row.dataset[key] ?? -Infinity));
    const order = (a, b) => (isText ? value(a).localeCompare(value(b)) : value(a) - value(b));
    rows.sort((a, b) => (descending ? order(b, a) : order(a, b)));
    body.append(...rows);
  }

  const bySkill = document.getElementById("by-skill");
  if (bySkill) {
    const showSkills = () => document.getElementById("score-table").classList.toggle("brief", !bySkill.checked);
    bySkill.checked = false;
    bySkill.addEventListener("change", showSkills);
    showSkills();
  }

  filters.addEventListener("input", filterRows);
  filters.addEventListener("submit", (event) => event.preventDefault());
  for (const button of table.querySelectorAll("button[data-key]")) {
    button.addEventListener("click", () => sortBy(button));
  }
  filterRows();
})();
