"use strict";
const table = document.getElementById("packages");
const body = table.tBodies[0];
const found = document.getElementById("found");
const search = document.getElementById("search");
const rows = [...body.rows];
const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));

search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const row of rows) {
    row.hidden = !words.every((word) => texts.get(row).includes(word));
    count += row.hidden ? 0 : 1;
  }
  found.textContent = `${count} of ${rows.length} packages`;
});

[...table.tHead.rows[0].cells].forEach((cell, column) => {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...cell.childNodes);
  cell.append(button);
  button.addEventListener("click", () => {
    const up = cell.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    cell.setAttribute("aria-sort", up ? "ascending" : "descending");
    const isNumber = cell.classList.contains("n");
    const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent.trim();
    const compare = (one, other) => {
      if (!isNumber) return key(one) < key(other) ? -1 : key(one) > key(other) ? 1 : 0;
      return Number(key(one)) - Number(key(other));
    };
    rows.sort((one, other) => (up ? compare(one, other) : compare(other, one)));
    body.append(...rows);
  });
});
document.getElementById("tools").hidden = false;
