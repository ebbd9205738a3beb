// The page of a cube: spectra of clicked points, and the slider of bands. DATA is what the page has of the cube.
"use strict";
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const bytes = Uint8Array.from(atob(DATA.points), (sign) => sign.charCodeAt(0));
const values = new Uint16Array(bytes.buffer);
const spectrum = document.getElementById("spectrum");
const clicked = document.getElementById("clicked");
const colours = document.getElementById("colours");
const pictures = JSON.parse(document.getElementById("bands").textContent);
const count = DATA.axis.length;
const drawn = [];

const nearest = (places, wanted) =>
  places.reduce((best, place, number) => (Math.abs(place - wanted) < Math.abs(places[best] - wanted) ? number : best), 0);

function spectrumAt(row, column) {
  const begin = (row * DATA.columns.length + column) * count;
  return Array.from(values.subarray(begin, begin + count), (value) =>
    value === 65535 ? NaN : DATA.low + (value / 65534) * (DATA.high - DATA.low));
}

function draw() {
  const all = drawn.flatMap((each) => each.values).filter(Number.isFinite);
  const low = Math.min(...all), high = Math.max(...all) > low ? Math.max(...all) : low + 1;
  const first = Math.min(...DATA.axis), last = Math.max(...DATA.axis) > first ? Math.max(...DATA.axis) : first + 1;
  const x = (value) => 60 + ((value - first) / (last - first)) * 570;
  const y = (value) => 205 - ((value - low) / (high - low)) * 190;
  const text = (left, top, anchor, words) =>
    `<text x="${left}" y="${top}" text-anchor="${anchor}" font-size="12" fill="#333">${words}</text>`;
  const lines = drawn.map((each, number) => {
    let path = "", open = false;
    each.values.forEach((value, band) => {
      if (!Number.isFinite(value)) { open = false; return; }
      path += `${open ? "L" : "M"}${x(DATA.axis[band]).toFixed(1)} ${y(value).toFixed(1)}`;
      open = true;
    });
    return `<path d="${path}" fill="none" stroke="${COLOURS[number % COLOURS.length]}" stroke-width="1.5"/>`;
  });
  spectrum.innerHTML = '<path d="M60 15V205H630" fill="none" stroke="#888"/>' + lines.join("") +
    text(55, 20, "end", high.toPrecision(3)) + text(55, 205, "end", low.toPrecision(3)) +
    text(60, 225, "start", `${first} ${DATA.unit}`) + text(630, 225, "end", `${last} ${DATA.unit}`);
  clicked.textContent = drawn.map((each) => `row ${each.row}, column ${each.column}`).join("; ") +
    " (the nearest points of which this page has spectra)";
}

function choose(row, column) {
  const [line, place] = [nearest(DATA.rows, row), nearest(DATA.columns, column)];
  drawn.push({ row: DATA.rows[line], column: DATA.columns[place], values: spectrumAt(line, place) });
  if (drawn.length > COLOURS.length) drawn.shift();
  draw();
}

colours.addEventListener("click", (event) => {
  const box = colours.getBoundingClientRect();
  choose(((event.clientY - box.top) / box.height) * DATA.size[0], ((event.clientX - box.left) / box.width) * DATA.size[1]);
});
colours.addEventListener("keydown", (event) => {
  if (event.key === "Enter") choose(DATA.size[0] / 2, DATA.size[1] / 2);
});
document.getElementById("slider").addEventListener("input", (event) => {
  document.getElementById("band").src = pictures[event.target.value];
  document.getElementById("name").textContent = DATA.names[event.target.value];
});
