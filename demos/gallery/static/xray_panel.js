// One request: its counts, its timeline, the list of its steps, what each held, and the response.

import { Chart, duration, isInThread } from "./xray_chart.js";

export { drawAll } from "./xray_chart.js";

let panelsMade = 0;

export class Panel {
  // `redraw` is called when there is something new to draw.
  constructor(request, way, redraw) {
    this.steps = [];
    this.isRunning = false;
    this.isComplete = false;
    this.redraw = redraw;
    this.id = `panel-${++panelsMade}`;
    this.rows = new Map();
    this.seen = { time: 0, at: 0 };
    this.chart = new Chart(`Timeline of ${request.method} ${request.path} by ${way}. The steps are listed below it.`, id => this.open(id, true));
    this.status = make("p", { class: "status", role: "status" }, "waits for its turn");
    this.counts = make("ul", { class: "counts" });
    this.took = make("p", { class: "took quiet" });
    this.list = make("ol", { class: "trace", "aria-label": "Steps" });
    this.element = make("article", { class: "panel", "aria-labelledby": this.id });
    const title = make("h3", { id: this.id }, way);
    title.append(make("code", {}, `${request.method} ${request.path}`));
    this.element.append(title, this.status, this.counts, this.took, this.chart.element, make("h4", {}, "Steps, in the order in which they began"), this.list);
    this.list.addEventListener("click", event => this.clicked(event));
    this.list.addEventListener("keydown", event => this.pressed(event));
  }

  // Microseconds since it began: while it runs, by the clock of this page.
  get now() {
    return this.isRunning && this.seen.at ? this.seen.time + (performance.now() - this.seen.at) * 1000 : this.seen.time;
  }

  begin() {
    this.isRunning = true;
    this.status.textContent = "running …";
  }

  add(steps) {
    for (const step of steps) {
      this.steps[step.id] = step;
      this.show(step);
    }
    const latest = Math.max(...steps.map(step => step.ended ?? step.began));
    this.count();
    if (latest > this.now || !this.seen.at) this.seen = { time: latest, at: performance.now() };
    this.redraw();
  }

  finish(record) {
    this.isRunning = false;
    this.isComplete = true;
    this.seen = { time: Math.max(record.duration, this.seen.time), at: 0 };
    this.status.textContent = summary(record);
    this.status.classList.toggle("is-failed", record.outcome === "failed");
    this.took.textContent = `${this.steps.length} steps, ${duration(record.duration)} in this single run, which is no measurement`;
    if (record.response) this.element.insertBefore(responseOf(record.response), this.list.previousElementSibling);
    this.redraw();
  }

  giveUp() {
    if (!this.isComplete) this.status.textContent = this.isRunning ? "interrupted" : "not sent";
    this.seen = { time: this.now, at: 0 };
    this.isRunning = false;
  }

  // How often it changes between the loop and a thread, in how many threads it is, how often it sends.
  count() {
    const places = this.steps.map(step => step.thread);
    const hops = places.filter((place, i) => i > 0 && place !== places[i - 1]).length;
    const threads = new Set(this.steps.filter(isInThread).map(step => step.thread)).size;
    const sends = this.steps.filter(step => step.layer === "ASGI" && step.name === "send").length;
    const counts = [[hops, "hop"], [threads, "thread"], [sends, "send"]];
    this.counts.replaceChildren(...counts.map(([number, what]) => {
      const item = make("li", {}, make("strong", {}, String(number)));
      item.append(` ${what}${number === 1 ? "" : "s"}`);
      return item;
    }));
  }

  // The list: arrow keys move along it, Enter and clicks open and close

  show(step) {
    let row = this.rows.get(step.id);
    if (!row) {
      row = make("li", { "data-layer": step.layer.toLowerCase() });
      const button = make("button", { type: "button", "data-id": step.id, "aria-expanded": "false", tabindex: this.rows.size ? -1 : 0 });
      button.style.setProperty("--depth", step.depth);
      button.append(make("span", { class: "name" }), make("span", { class: "took" }), make("span", { class: "detail" }));
      row.append(button);
      this.rows.set(step.id, row);
      this.list.append(row);
    }
    const [name, took, detail] = row.firstElementChild.children;
    row.classList.toggle("is-failed", step.failed);
    name.replaceChildren(make("span", { class: "layer-of" }, step.layer), step.name === step.layer ? "" : ` ${step.name}`);
    took.textContent = step.ended === null ? "…" : step.ended > step.began ? duration(step.ended - step.began) : "";
    detail.textContent = step.detail;
    if (row.firstElementChild.ariaExpanded === "true") this.open(step.id, false);
  }

  open(id, isToBeSeen) {
    this.close();
    const row = this.rows.get(id);
    const button = row.firstElementChild;
    button.setAttribute("aria-expanded", "true");
    row.append(factsOf(this.steps[id]));
    this.chart.choose(id);
    if (isToBeSeen) {
      this.moveTo(button);
      row.scrollIntoView({ block: "nearest" });
    }
  }

  close() {
    const open = this.list.querySelector("[aria-expanded=true]");
    open?.setAttribute("aria-expanded", "false");
    open?.nextElementSibling?.remove();
    this.chart.choose(null);
  }

  clicked(event) {
    const button = event.target.closest("button");
    if (!button) return;
    const isOpen = button.getAttribute("aria-expanded") === "true";
    this.moveTo(button);
    if (isOpen) this.close();
    else this.open(Number(button.dataset.id), false);
  }

  pressed(event) {
    const buttons = [...this.list.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (at < 0 || next === undefined || !buttons[next]) return;
    event.preventDefault();
    this.moveTo(buttons[next]);
  }

  moveTo(button) {
    this.list.querySelector("[tabindex='0']")?.setAttribute("tabindex", "-1");
    button.setAttribute("tabindex", "0");
    button.focus();
  }
}

function summary({ outcome, error, response }) {
  const status = response ? ` ${response.status}` : "";
  if (outcome === "failed") return `failed${status}${error && `: ${error}`}`;
  return [status && `answered${status}`, error].filter(Boolean).join("; ");
}

function responseOf(response) {
  const details = make("details", { class: "facts response" });
  const end = response.complete ? "" : ", cut off";
  details.append(make("summary", {}, `The response: ${response.status}, ${response.size.toLocaleString("en")} bytes${end}`));
  details.append(tableOf(response.headers, ["header", "value"]), make("pre", { class: "body" }, response.body || "(no body)"));
  return details;
}

// What a layer held

function factsOf(step) {
  const place = make("div", { class: "facts" });
  const thread = isInThread(step) ? `thread ${step.thread}` : "the event loop";
  const end = step.ended === null ? ", not ended" : step.ended > step.began ? `, for ${duration(step.ended - step.began)}` : "";
  const isLong = value => value !== null && typeof value === "object" && !Array.isArray(value);
  const facts = Object.entries(step.facts).sort(([, one], [, other]) => isLong(one) - isLong(other));
  place.append(listOf([["where, when", `${thread}, at ${duration(step.began)}${end}`], ...facts]));
  return place;
}

function listOf(members) {
  const list = make("dl");
  for (const [name, value] of members) {
    const shown = shownValue(value, name);
    list.append(make("dt", {}, spoken(name)), make("dd", { class: shown instanceof Element ? "nested" : "" }));
    list.lastChild.append(shown);
  }
  return list;
}

function shownValue(value, name) {
  if (value === null) return "none";
  if (name === "waited") return duration(value);
  if (Array.isArray(value)) {
    if (!value.length) return "none";
    if (value.every(each => each?.header)) return fatesOf(value);
    if (value.every(each => Array.isArray(each) && each.length === 2)) return tableOf(value, ["name", "value"]);
    return value.map(each => typeof each === "object" ? JSON.stringify(each) : String(each)).join(", ");
  }
  if (typeof value === "object") return Object.keys(value).length ? listOf(Object.entries(value)) : "none";
  return value === "" ? "“”" : String(value);
}

const spoken = name => /^[a-z_]+$/.test(name) ? name.replaceAll("_", " ") : name;

function fatesOf(fates) {
  const table = tableOf(
    fates.map(each => [each.header, each.value, each.key ?? "—", each.why || "kept"]),
    ["header", "value", "key in the environ", "what became of it"],
  );
  fates.forEach((each, i) => table.tBodies[0].rows[i].classList.toggle("dropped", each.key === null));
  return table;
}

function tableOf(rows, names) {
  const table = make("table");
  const head = table.createTHead().insertRow();
  for (const name of names) head.append(make("th", { scope: "col" }, name));
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    for (const value of row) line.insertCell().textContent = String(value);
  }
  return table;
}

function make(name, attributes = {}, text = "") {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.append(text);
  return element;
}
