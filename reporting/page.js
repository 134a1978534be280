// Sort a table by the column whose button is pressed; cells without a value stay last.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const header = button.closest("th");
    const body = header.closest("table").tBodies[0];
    const number = header.classList.contains("number");
    const first = number ? "descending" : "ascending"; // then in turn
    const before = header.getAttribute("aria-sort");
    const rising = before ? before === "descending" : first === "ascending";
    for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const value = (row) => row.cells[header.cellIndex].dataset.value;
    const compare = (a, b) => (number ? a - b : a.localeCompare(b)) * (rising ? 1 : -1);
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [value(a), value(b)];
      return (x === "") - (y === "") || (x === "" ? 0 : compare(x, y));
    });
    body.append(...rows);
  });
}

// Differences to the method that is chosen.
const signed = (value) => ["−", "", "+"][Math.sign(value) + 1] + Math.abs(value).toFixed(1);
const choice = document.querySelector("#reference");
choice?.addEventListener("change", () => {
  for (const row of document.querySelector("#classes-table").tBodies[0].rows) {
    const base = row.querySelector(`[data-ap="${choice.value}"]`).dataset.value;
    for (const cell of row.querySelectorAll("[data-difference]")) {
      const own = row.querySelector(`[data-ap="${cell.dataset.difference}"]`).dataset.value;
      const known = own !== "" && base !== "";
      cell.dataset.value = known ? own - base : "";
      cell.textContent = known ? signed(own - base) : "–";
    }
  }
});

// Open the details of a class that a link leads to.
const openTarget = () => {
  const target = location.hash && document.getElementById(location.hash.slice(1));
  if (target instanceof HTMLDetailsElement) target.open = true;
};
addEventListener("hashchange", openTarget);
openTarget();

const everyClass = document.querySelector("#open-all");
everyClass?.addEventListener("click", () => {
  const all = [...document.querySelectorAll("details.class")];
  const open = !all.every((details) => details.open);
  for (const details of all) details.open = open;
});
