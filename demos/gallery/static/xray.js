// The X-ray page: has a request traced, reads its steps as they happen, and draws them.

import { Panel, drawAll } from "./xray_panel.js";

const form = document.getElementById("request");
const result = document.getElementById("result");
const panels = document.getElementById("panels");
const scale = document.getElementById("scale");
const example = document.getElementById("example");
const examples = [...document.querySelectorAll(".examples a")];

const FIELDS = ["subject", "method", "path", "beside", "way", "headers", "body"];
const SAFE = ["GET", "HEAD", "OPTIONS"]; // RFC 9110, 9.2.1: a link may start them
const MOST = 4; // requests at once

let running = new AbortController();
let shown = [];

// The form, and the address, which is the form's content

function readForm() {
  const fields = new FormData(form);
  const query = new URLSearchParams();
  for (const [name, value] of fields) if (value) query.append(name, value);
  return query;
}

function fillForm(query) {
  for (const name of FIELDS) if (name !== "way") form.elements[name].value = valueOf(query, name);
  for (const box of form.elements.way) box.checked = waysOf(query).includes(box.value);
  form.querySelector("details").open = query.has("headers") || query.has("body");
}

const valueOf = (query, name) => query.get(name) ?? { subject: "subject", method: "GET" }[name] ?? "";
const waysOf = query => query.has("way") ? query.getAll("way") : ["bridge"];
const queryOf = link => new URL(link.href).searchParams;

function isSame(one, other) {
  return FIELDS.every(name => name === "way" ? `${waysOf(one)}` === `${waysOf(other)}` : valueOf(one, name) === valueOf(other, name));
}

// Says which example it is, if it is one.
function nameIt() {
  const query = readForm();
  const link = examples.find(each => isSame(queryOf(each), query));
  for (const each of examples) each.removeAttribute("aria-current");
  link?.setAttribute("aria-current", "true");
  example.value = link?.getAttribute("href") ?? "";
  document.getElementById("result-title").textContent = link?.textContent ?? "Your own request";
  document.getElementById("teaches").textContent = link?.dataset.teaches ?? "";
}

function headersOf(text) {
  return text.split("\n").filter(line => line.trim()).map(line => {
    const colon = line.indexOf(":");
    if (colon < 1) throw new Invalid("headers", `“${line.trim().slice(0, 40)}” does not have the form Name: value`);
    return [line.slice(0, colon).trim(), line.slice(colon + 1).trim()];
  });
}

// Each path in each way, as the server wants them.
function requestsOf(query) {
  const ways = query.getAll("way");
  if (!ways.length) throw new Invalid("way", "choose at least one adapter");
  const common = {
    subject: query.get("subject"), method: query.get("method"),
    headers: headersOf(query.get("headers") ?? ""), body: query.get("body") ?? "",
  };
  const requests = [];
  for (const field of ["path", "beside"]) {
    if (field === "beside" && !query.has("beside")) continue;
    for (const way of ways) requests.push({ field, request: { ...common, way, path: query.get(field) ?? "" } });
  }
  if (requests.length > MOST) throw new Invalid("way", `that makes ${requests.length} requests; at most ${MOST} can be compared`);
  return requests;
}

// Errors, beside their fields

class Invalid extends Error {
  constructor(field, message) { super(message); this.field = field; }
}

function clearErrors() {
  for (const place of form.querySelectorAll(".error")) place.hidden = true;
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
}

function showError(field, message) {
  const known = FIELDS.includes(field) ? field : "";
  const place = document.getElementById(`error-${known}`);
  place.textContent = message;
  place.hidden = false;
  for (let each = place.closest("details"); each; each = each.parentElement.closest("details")) each.open = true;
  const control = known && document.getElementById(known);
  if (control) { control.setAttribute("aria-invalid", "true"); control.focus(); }
  else if (!known) place.scrollIntoView({ block: "center" });
}

// A trace: POST, and the events that are its answer

async function* eventsOf(request, signal) {
  const response = await fetch(form.dataset.traces, {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request), signal,
  });
  if (!response.ok) {
    const isProblem = response.headers.get("Content-Type") === "application/problem+json";
    throw new Refused(isProblem ? await response.json() : { detail: await response.text() });
  }
  let text = "";
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (text + value).split("\n\n");
    text = events.pop();
    for (const event of events) {
      const fields = Object.fromEntries(event.split("\n").map(line => [line.split(":")[0], line.slice(line.indexOf(":") + 2)]));
      if (fields.event) yield [fields.event, JSON.parse(fields.data)];
    }
  }
}

class Refused extends Error {
  constructor(problem) { super(problem.detail); this.errors = problem.errors ?? []; }
}

async function run() {
  running.abort();
  const { signal } = running = new AbortController();
  clearErrors();
  try {
    const requests = requestsOf(readForm());
    nameIt();
    shown = requests.map(({ request }) => new Panel(request, titleOf(request), () => drawAll(shown, scale.value)));
    panels.replaceChildren(...shown.map(panel => panel.element));
    result.hidden = false;
    if (result.getBoundingClientRect().top < 0) result.scrollIntoView({ behavior: isCalm() ? "auto" : "smooth" });
    // One after the other, so that none has to share the processor with another.
    for (const [number, { field, request }] of requests.entries()) await follow(shown[number], field, request, signal);
  } catch (error) {
    if (signal.aborted) return;
    if (error instanceof Invalid) showError(error.field, error.message);
    else showError("", `The server did not answer to the end: ${error.message}`);
    for (const panel of shown) panel.giveUp();
    if (error instanceof Invalid) result.hidden = true;
  }
}

async function follow(panel, field, request, signal) {
  try {
    panel.begin();
    for await (const [name, data] of eventsOf(request, signal)) {
      if (name === "steps") panel.add(data);
      else if (name === "end") panel.finish(data);
    }
    if (!panel.isComplete) throw new Error("the answer ended too early");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    const [first] = error.errors;
    if (!first) throw new Invalid("", error.message);
    throw new Invalid(first.field === "path" ? field : first.field, first.message);
  }
}

function titleOf(request) {
  return form.querySelector(`[name=way][value="${request.way}"]`).parentElement.textContent.trim();
}

const isCalm = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

// What a visitor does

function go(query) {
  history.pushState(null, "", `?${query}`);
  run();
}

form.addEventListener("submit", event => {
  event.preventDefault();
  go(readForm());
});

function show(link) {
  fillForm(queryOf(link));
  go(queryOf(link));
}

document.querySelector(".examples").addEventListener("click", event => {
  const link = event.target.closest("a");
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  show(link);
});

example.addEventListener("change", () => show(examples.find(each => each.getAttribute("href") === example.value)));

// What the address says, or else the first example. A request that may change something waits for the button.
function followAddress() {
  fillForm(location.search ? new URLSearchParams(location.search) : queryOf(examples[0]));
  if (SAFE.includes(form.elements.method.value)) return run();
  nameIt();
  panels.replaceChildren();
  result.hidden = true;
  document.getElementById("own").open = true;
}

addEventListener("popstate", followAddress);
scale.addEventListener("change", () => drawAll(shown, scale.value));
new ResizeObserver(() => drawAll(shown, scale.value)).observe(panels);

document.querySelector(".layer-names").addEventListener("click", event => {
  const button = event.target.closest("button");
  if (!button) return;
  for (const each of button.parentElement.children) each.setAttribute("aria-pressed", each === button);
  document.getElementById("about-layer").textContent = `${button.textContent}: ${button.dataset.about}`;
});

// While something runs, its bars grow; with reduced motion, only when there is news.
function grow() {
  if (!isCalm() && shown.some(panel => panel.isRunning)) drawAll(shown, scale.value);
  requestAnimationFrame(grow);
}

grow();
followAddress();
