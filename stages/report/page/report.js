"use strict";
(() => {
  const table = document.getElementById("prompt-table");
  const head = Array.from(table.tHead.rows[0].cells);
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const filters = document.getElementById("filters");
  const count = document.getElementById("count");

  const valueOf = (name) => (filters.elements[name] ? filters.elements[name].value : "");

  function changeOf(row) {
    const metric = valueOf("metric");
    const cells = Array.from(row.querySelectorAll(".change-cell"));
    const cell = metric === "" ? cells[0] : cells.find((one) => one.dataset.metric === metric);
    return cell ? Number(cell.dataset.value) : 0;
  }

  function filterRows() {
    const words = valueOf("text").toLowerCase().split(/\s+/).filter(Boolean);
    const skill = valueOf("skill");
    const wanted = valueOf("change");
    let shown = 0;
    for (const row of rows) {
      const text = row.dataset.text.toLowerCase();
      const change = wanted ? changeOf(row) : 0;
      row.hidden = !words.every((word) => text.includes(word))
        || (skill !== "" && row.dataset.skill !== skill)
        || (wanted === "better" && !(change > 0))
        || (wanted === "worse" && !(change < 0));
      shown += row.hidden ? 0 : 1;
    }
    count.textContent = `${shown} of ${rows.length}`;
  }

  function showMetric() {
    const metric = valueOf("metric");
    for (const cell of table.querySelectorAll("[data-metric]")) {
      cell.hidden = metric !== "" && cell.dataset.metric !== metric;
    }
  }

  function sortBy(header) {
    const column = head.indexOf(header);
    const isText = !header.dataset.metric;
    const previous = header.getAttribute("aria-sort");
    const descending = previous ? previous === "ascending" : !isText;
    for (const other of head) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descending ? "descending" : "ascending");
    const value = (row) => (isText ? row.cells[column].textContent : Number(row.cells[column].dataset.value ?? -Infinity));
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

  filters.addEventListener("input", () => { showMetric(); filterRows(); });
  filters.addEventListener("submit", (event) => event.preventDefault());
  for (const header of head) {
    const button = header.querySelector("button");
    if (button) button.addEventListener("click", () => sortBy(header));
  }
  showMetric();
  filterRows();
})();
