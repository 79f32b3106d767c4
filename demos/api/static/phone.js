// The app on the phone. All it knows of the server is the API.
const [flight, said, enter, inside, keep, list, more, leave, wire] =
  ["flight", "said", "enter", "inside", "keep", "list", "more", "leave", "wire"].map(id => document.getElementById(id));
const api = document.body.dataset.api;  // the path below which the API is mounted

class Problem extends Error {}  // what the API says is wrong
class Offline extends Error {}

// A real app keeps these in the phone's key store and in a file. Here they end with the tab.
let session = read("session");  // {name, token, id}, or null
let outbox = [];                // [{id, sighting}]: what the API has not confirmed
let next = null;                // where the older sightings are
let sending = false;

function read(name) { return JSON.parse(sessionStorage.getItem(`phone ${name}`)); }
function write(name, value) { sessionStorage.setItem(`phone ${name}`, JSON.stringify(value)); }

// Calls

async function call(method, path, {body, etag} = {}) {
  const headers = new Headers({Accept: "application/json"});
  if (session) headers.set("Authorization", `Bearer ${session.token}`);
  if (body) headers.set("Content-Type", "application/json");
  if (etag) headers.set("If-Match", etag);
  const answered = log(method, path, headers, body);
  let response, text;
  try {
    if (flight.checked) throw new TypeError("flight mode");
    response = await fetch(api + path, {method, headers, body: body && JSON.stringify(body), cache: "no-store"});
    text = await response.text();
  } catch {
    answered("no network");
    throw new Offline("There is no network.");
  }
  answered(`${response.status} ${response.statusText}`);
  if (!response.ok) {
    if (response.status === 401 && session) forget();
    throw new Problem(explain(response, text));
  }
  return {answer: text ? JSON.parse(text) : null, etag: response.headers.get("ETag")};
}

function explain(response, text) {
  try {
    const {detail, errors} = JSON.parse(text);
    return errors ? errors.map(each => each.detail).join(" ") : detail;
  } catch {
    return `The server answers ${response.status}.`;  // a proxy's error, which is no JSON
  }
}

function log(method, path, headers, body) {
  const line = document.createElement("li");
  const name = document.createElement("b");
  const status = document.createElement("span");
  const sent = document.createElement("pre");
  name.textContent = method;
  status.textContent = " …";
  const shown = [...headers].filter(([each]) => ["authorization", "if-match"].includes(each))
    .map(([each, value]) => `${each}: ${value.slice(0, 24)}${value.length > 24 ? "…" : ""}`);
  if (body) shown.push(JSON.stringify("password" in body ? {...body, password: "…"} : body));
  sent.textContent = shown.join("\n");
  line.append(name, ` ${path}`, status, sent);
  wire.prepend(line);
  while (wire.children.length > 30) wire.lastChild.remove();
  return text => { status.textContent = ` → ${text}`; };
}

// Who it is

async function logIn(name, password, isNew) {
  if (isNew) await call("POST", "/users", {body: {name, password}});
  const {answer} = await call("POST", "/tokens", {body: {name, password}});
  session = {name, token: answer.token, id: answer.id};
  write("session", session);
  enter.reset();
  const problem = await begin();
  keep.elements.species.focus();
  return problem;
}

async function begin() {
  outbox = read(`outbox of ${session.name}`) ?? [];
  show();
  return await goOn();
}

async function logOut() {
  const {id} = session;
  try {
    await call("DELETE", `/tokens/${id}`);
  } finally {
    forget();  // without a network, too; the token then lives on until it expires
  }
}

function forget() {
  session = null;
  write("session", null);
  list.replaceChildren();
  show();
}

function show() {
  enter.hidden = session !== null;
  inside.hidden = session === null;
}

// Sightings

async function load() {
  const {answer} = await call("GET", "/sightings?limit=10");
  list.replaceChildren(...outbox.map(waiting), ...answer.items.map(item));
  follow(answer);
}

async function loadOlder() {
  const {answer} = await call("GET", next);
  list.append(...answer.items.map(item));
  follow(answer);
}

function follow(page) {
  next = page.next?.slice(api.length);
  more.hidden = !next;
}

// The phone makes the id. So it may send the same again when it does not know whether the first arrived.
async function store(sighting) {
  const one = {id: uuid(), sighting};
  outbox.push(one);
  list.prepend(waiting(one));
  return await goOn();
}

async function goOn() {
  return await send() ?? await load();
}

// Sends what waits, in order; returns what to say if something has to wait on.
async function send() {
  const whose = session, mine = outbox;
  const save = () => write(`outbox of ${whose.name}`, mine);
  save();
  if (sending) return;
  sending = true;
  try {
    while (mine.length && session === whose) {
      const {id, sighting} = mine[0];
      try {
        await call("PUT", `/sightings/${id}`, {body: sighting});
      } catch (error) {
        if (error instanceof Offline) return `${error.message} ${mine.length} waiting.`;
        if (session === whose) mine.shift();  // it will not get better; without a log-in, it might
        throw error;
      }
      mine.shift();
    }
  } finally {
    sending = false;
    save();
  }
}

// Reads it, and changes it only if nobody else has changed it since: that is what the ETag says.
async function addOne({id}) {
  const {answer: {species, seen_on, count, notes, place}, etag} = await call("GET", `/sightings/${id}`);
  await call("PUT", `/sightings/${id}`, {body: {species, seen_on, count: count + 1, notes, place}, etag});
  await load();
}

async function remove({id}) {
  await call("DELETE", `/sightings/${id}`);
  await load();
}

function item(sighting) {
  const line = document.createElement("li");
  const note = document.createElement("small");
  note.textContent = `${sighting.by}, ${sighting.seen_on}`;
  line.append(`${sighting.count} × ${sighting.species} `, note);
  if (sighting.by === session.name) {
    for (const [text, action] of [["One more", addOne], ["Delete", remove]]) {
      const button = document.createElement("button");
      button.textContent = text;
      button.setAttribute("aria-label", `${text}: ${sighting.species}`);
      button.onclick = () => act(() => action(sighting));
      line.append(" ", button);
    }
  }
  return line;
}

function waiting({sighting}) {
  const line = document.createElement("li");
  line.textContent = `${sighting.count} × ${sighting.species}, waiting`;
  return line;
}

function uuid() {
  if (crypto.randomUUID) return crypto.randomUUID();  // browsers have it only where the page is secure
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = bytes[6] & 0x0f | 0x40;  // version 4 (RFC 9562)
  bytes[8] = bytes[8] & 0x3f | 0x80;
  return [...bytes].map(each => each.toString(16).padStart(2, "0")).join("")
    .replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

// What the fingers do

async function act(action) {
  try {
    said.textContent = await action() ?? "";
  } catch (error) {
    if (!(error instanceof Problem || error instanceof Offline)) throw error;
    said.textContent = error.message;
  }
}

enter.onsubmit = event => {
  event.preventDefault();
  const {name, password} = enter.elements;
  act(() => logIn(name.value, password.value, event.submitter?.value === "sign-up"));
};
keep.onsubmit = event => {
  event.preventDefault();
  const species = keep.elements.species.value.trim().replace(/\s+/g, " ");
  const count = keep.elements.count.valueAsNumber;
  const seen_on = new Date().toLocaleDateString("sv");  // as in 2026-04-01, here
  keep.reset();
  act(() => store({species, seen_on, count}));
};
more.onclick = () => act(loadOlder);
leave.onclick = () => act(logOut);
flight.onchange = () => session && !flight.checked && act(goOn);
addEventListener("online", () => session && act(goOn));

show();
if (session) act(begin);
