// The timeline, as SVG: a lane for each layer, in the page's order, and in it a bar for each step.

const LAYERS = [...document.querySelectorAll(".layer-names button")].map(button => button.textContent);

const ROW = 15, BAR = 12, NAME = 16, GAP = 6, AXIS = 18, MARGIN = 3; // pixels
const NARROWEST = 6; // a bar that can still be clicked
const MOST_ROWS = 7; // in a lane; further steps of the same moment overlap in the last row

export function drawAll(panels, kind) {
  const scale = scaleOf(panels, kind);
  for (const panel of panels) panel.chart.draw(panel.steps, panel.now, scale);
}

// One scale for all charts: microseconds → 0 to 1, and the times to write on the axis.
function scaleOf(panels, kind) {
  const end = Math.max(1, ...panels.map(panel => panel.now));
  if (kind === "linear") return { of: time => time / end, ticks: roundTimes(end) };
  const times = panels.flatMap(panel => panel.steps.flatMap(step => [step.began, step.ended ?? panel.now]));
  const moments = [...new Set([0, ...times, end])].sort((one, other) => one - other);
  const places = [0];
  for (let i = 1; i < moments.length; i++) places.push(places[i - 1] + Math.log2(2 + (moments[i] - moments[i - 1]) / 10));
  const width = places.at(-1) || 1;
  const placeOf = new Map(moments.map((moment, i) => [moment, places[i] / width]));
  return { of: time => placeOf.get(time) ?? 1, ticks: moments };
}

function roundTimes(end) {
  const rough = end / 8;
  const power = 10 ** Math.floor(Math.log10(rough));
  const unit = power * [1, 2, 5, 10].find(factor => factor * power >= rough);
  return Array.from({ length: Math.floor(end / unit) + 1 }, (_, i) => i * unit);
}

export function duration(microseconds) {
  if (microseconds < 1000) return `${Math.round(microseconds)} µs`;
  const [number, unit] = microseconds < 1e6 ? [microseconds / 1e3, "ms"] : [microseconds / 1e6, "s"];
  return `${number >= 100 ? Math.round(number) : Number(number.toPrecision(3))} ${unit}`;
}

export const isInThread = step => step.thread !== "loop";

export class Chart {
  // `choose` is called with the id of a step whose bar was clicked.
  constructor(label, choose) {
    this.element = make("svg", { class: "chart", role: "img", "aria-label": label });
    this.axis = this.element.appendChild(make("g"));
    this.lanes = new Map(LAYERS.map(layer => [layer, this.element.appendChild(lane(layer))]));
    this.bars = new Map();
    this.element.addEventListener("click", event => {
      const bar = event.target.closest(".step");
      if (bar) choose(Number(bar.dataset.id));
    });
  }

  draw(steps, now, scale) {
    const width = this.element.clientWidth || 800;
    const x = time => MARGIN + scale.of(time) * (width - 2 * MARGIN - NARROWEST);
    const rows = rowsOf(steps, now, x);
    let y = AXIS;
    const tops = new Map();
    for (const layer of LAYERS) {
      tops.set(layer, y);
      y += this.placeLane(layer, y, width, rows.counts.get(layer) ?? 0);
    }
    this.drawAxis(scale.ticks, x, width, y);
    for (const step of steps) this.drawStep(step, now, x, tops.get(step.layer) + NAME + ROW * rows.of.get(step.id));
    setAll(this.element, { viewBox: `0 0 ${width} ${y}`, width, height: y });
  }

  choose(id) {
    for (const [of, bar] of this.bars) bar.classList.toggle("chosen", of === id);
  }

  placeLane(layer, y, width, rows) {
    const group = this.lanes.get(layer);
    const height = NAME + ROW * rows + GAP;
    group.classList.toggle("untouched", !rows);
    setAll(group.querySelector("text"), { x: MARGIN, y: y + 12 });
    setAll(group.querySelector("line"), { x1: 0, x2: width, y1: y - 1, y2: y - 1 });
    return height;
  }

  drawAxis(ticks, x, width, height) {
    this.axis.replaceChildren();
    let free = 0;
    for (const tick of ticks) {
      const at = x(tick);
      if (at < free || at > width - 45) continue;
      free = at + 62;
      this.axis.append(make("line", { class: "tick", x1: at, x2: at, y1: AXIS - 4, y2: height }));
      this.axis.append(make("text", { x: at, y: 11 }, duration(tick)));
    }
  }

  drawStep(step, now, x, y) {
    let bar = this.bars.get(step.id);
    if (!bar) {
      bar = make("g", { "data-id": step.id });
      bar.append(make("rect", { class: "bar-of", rx: 2 }), make("rect", { fill: "url(#hatch)", class: "hatch" }), make("title"));
      this.bars.set(step.id, bar);
      this.lanes.get(step.layer).append(bar);
    }
    bar.setAttribute("class", ["step", step.failed && "failed", bar.classList.contains("chosen") && "chosen"].filter(Boolean).join(" "));
    const [rect, hatch, title] = bar.children;
    const left = x(step.began);
    const place = { x: left, y, width: Math.max(NARROWEST, x(step.ended ?? now) - left), height: BAR };
    setAll(rect, place);
    setAll(hatch, place);
    hatch.setAttribute("visibility", isInThread(step) ? "visible" : "hidden");
    title.textContent = `${step.layer} · ${step.name}${step.ended > step.began ? `, ${duration(step.ended - step.began)}` : ""}`;
  }
}

// The row of each step in its lane: below the step that contains it, and where there is room.
function rowsOf(steps, now, x) {
  const byId = new Map(steps.map(step => [step.id, step]));
  const of = new Map(), counts = new Map(), taken = new Map(LAYERS.map(layer => [layer, []]));
  for (const step of steps) {
    let outer = byId.get(step.parent);
    while (outer && outer.layer !== step.layer) outer = byId.get(outer.parent);
    const ends = taken.get(step.layer);
    const left = x(step.began);
    let row = outer ? of.get(outer.id) + 1 : 0;
    while (ends[row] > left && row < MOST_ROWS - 1) row++;
    row = Math.min(row, MOST_ROWS - 1);
    ends[row] = Math.max(left + NARROWEST, x(step.ended ?? now));
    of.set(step.id, row);
    counts.set(step.layer, Math.max(counts.get(step.layer) ?? 0, row + 1));
  }
  return { of, counts };
}

function lane(layer) {
  const group = make("g", { class: "lane untouched", "data-layer": layer.toLowerCase() });
  group.append(make("line", { class: "floor" }), make("text", { class: "lane-name" }, layer));
  return group;
}

function make(name, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  setAll(element, attributes);
  if (text) element.textContent = text;
  return element;
}

function setAll(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}
