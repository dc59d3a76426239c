// What moves on the page: plots in the colours of the theme, the picture under the pointer, sorting, and the lineage graph.
"use strict";

// Plots.

const dark = matchMedia("(prefers-color-scheme: dark)");

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function themed(layout) {
  const axis = (own) => ({ gridcolor: colour("--line"), linecolor: colour("--line"), zerolinecolor: colour("--line"), automargin: true, ...own });
  return {
    margin: { l: 50, r: 10, t: 10, b: 40 },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colour("--text"), size: 12 },
    hoverlabel: { bgcolor: colour("--panel"), bordercolor: colour("--line"), font: { color: colour("--text") } },
    xaxis: axis(layout.xaxis),
    yaxis: axis(layout.yaxis),
  };
}

for (const box of document.querySelectorAll(".plot")) {
  const figure = JSON.parse(box.firstElementChild.textContent);
  box.textContent = "";
  const config = { displayModeBar: false, responsive: true, scrollZoom: false };
  Plotly.newPlot(box, figure.data, themed(figure.layout), config);
  dark.addEventListener("change", () => Plotly.react(box, figure.data, themed(figure.layout), config));
  if (figure.pictures) {
    box.on("plotly_hover", (event) => showTip(event.points[0].customdata, event.event));
    box.on("plotly_unhover", hideTip);
  }
}

// The picture under the pointer: a tile of the one sheet that holds all of them.

function showTip(index, at) {
  if (index === undefined) return;
  const tip = document.getElementById("tip");
  const tile = tip.querySelector(".tile");
  const { columns, rows } = document.getElementById("map-figures").dataset;
  const side = 128;
  tile.style.backgroundSize = `${columns * side}px ${rows * side}px`;
  tile.style.backgroundPosition = `${-(index % columns) * side}px ${-Math.floor(index / columns) * side}px`;
  tip.querySelector("p").textContent = JSON.parse(document.getElementById("captions").textContent)[index].join("\n");
  tip.hidden = false;
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(4, Math.min(at.clientX + 14, innerWidth - width - 4))}px`;
  tip.style.top = `${Math.max(4, Math.min(at.clientY + 14, innerHeight - height - 4))}px`;
}

function hideTip() {
  document.getElementById("tip").hidden = true;
}

// Tables.

function keyOf(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.value ?? cell.textContent.trim();
  const number = Number(text);
  return text !== "" && !Number.isNaN(number) ? number : text;
}

function compare(one, other) {
  if (typeof one === typeof other) return one < other ? -1 : one > other ? 1 : 0;
  return typeof one === "number" ? -1 : 1; // numbers before texts
}

for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const direction = heading.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", direction);
      const sign = direction === "ascending" ? 1 : -1;
      const rows = [...table.tBodies[0].rows].sort((one, other) => sign * compare(keyOf(one, column), keyOf(other, column)));
      table.tBodies[0].append(...rows);
    });
  });
}

// The lineage graph.

function choose(node) {
  const name = node.dataset.node;
  document.querySelectorAll(".node").forEach((other) => other.classList.toggle("chosen", other === node));
  document.querySelectorAll("#lineage path").forEach((path) => path.classList.toggle("lit", path.dataset.from === name || path.dataset.to === name));
  document.querySelector("#details .hint").hidden = true;
  document.querySelectorAll("#details article").forEach((article) => (article.hidden = article.dataset.node !== name));
}

for (const node of document.querySelectorAll(".node")) {
  node.addEventListener("click", () => choose(node));
  node.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      choose(node);
    }
  });
}
