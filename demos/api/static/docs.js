// Makes of each form a call of the API, and shows what came back.
const token = document.getElementById("token");

for (const form of document.forms) {
  form.addEventListener("submit", event => {
    event.preventDefault();
    send(form);
  });
}
fill("sighting_id", crypto.randomUUID?.() ?? "");  // browsers have it only where the page is secure

function fill(name, value) {
  for (const input of document.querySelectorAll(`[data-in=path][name=${name}]`)) input.value = value;
}

async function send(form) {
  const output = form.querySelector("output");
  output.hidden = false;
  output.textContent = "…";
  try {
    const response = await fetch(...makeRequest(form));
    const text = await response.text();
    output.textContent = show(response, text);
    if (response.status === 201 && form.dataset.path.endsWith("/tokens")) {
      const made = JSON.parse(text);
      token.value = made.token;
      fill("token_id", made.id);
    }
  } catch (error) {
    output.textContent = `No answer: ${error.message}`;
  }
}

function makeRequest(form) {
  const headers = new Headers({Accept: "application/json"});
  const query = new URLSearchParams();
  let path = form.dataset.path;
  for (const {name, value, dataset} of form.querySelectorAll("input")) {
    if (dataset.in === "path") path = path.replace(`{${name}}`, encodeURIComponent(value));
    else if (value && dataset.in === "query") query.set(name, value);
    else if (value && dataset.in === "header") headers.set(name, value);
  }
  if (token.value) headers.set("Authorization", `Bearer ${token.value}`);
  const body = form.elements.body?.value;
  if (body !== undefined) headers.set("Content-Type", "application/json");
  const address = query.size ? `${path}?${query}` : path;
  return [address, {method: form.dataset.method, headers, body, cache: "no-store"}];
}

function show(response, text) {
  const lines = [`${response.status} ${response.statusText}`];
  for (const name of ["ETag", "Location", "Retry-After"]) {
    if (response.headers.has(name)) lines.push(`${name}: ${response.headers.get(name)}`);
  }
  if (text) lines.push("", format(text));
  return lines.join("\n");
}

function format(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
