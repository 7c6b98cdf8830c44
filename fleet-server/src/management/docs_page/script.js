"use strict";
// Everything that comes from elsewhere goes into the page as text, never as markup.

const METHODS = ["get", "post", "put", "patch", "delete"];
/** So much of an answer is shown, in characters. */
const LONGEST_ANSWER = 200000;
/** Nested examples and schemas are cut here. */
const DEEPEST = 6;

const find = (id) => document.getElementById(id);
let description = {};
let csrf = "";

/** An element with attributes and children. */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key in element && key !== "list") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Follows a reference within the description. */
function resolve(schema) {
  let found = schema;
  for (let steps = 0; found && found.$ref && steps < 20; steps += 1) {
    found = found.$ref.replace(/^#\//, "").split("/").reduce((at, part) => at?.[part], description);
  }
  return found ?? {};
}

/** What a schema is called in a table. */
function typeOf(schema) {
  if (schema === true || schema === undefined) return "any";
  const name = schema.$ref?.split("/").pop();
  const found = resolve(schema);
  if (found.enum) return found.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (found.const !== undefined) return JSON.stringify(found.const);
  const several = found.anyOf ?? found.oneOf;
  if (several) return several.map(typeOf).join(" | ");
  const type = [found.type ?? "any"].flat().filter((one) => one !== "null").join(" | ");
  if (type === "array") return `array of ${typeOf(found.items)}`;
  return type === "object" && name ? name : type;
}

/** Something of the shape that a schema asks for. */
function example(schema, depth = 0) {
  const found = resolve(schema);
  if (found.examples?.length) return found.examples[0];
  if (found.default !== undefined && found.default !== null) return found.default;
  if (found.const !== undefined) return found.const;
  if (found.enum) return found.enum[0];
  const several = found.anyOf ?? found.oneOf;
  if (several) return example(several.find((one) => one.type !== "null") ?? several[0], depth);
  const type = [found.type ?? []].flat().find((one) => one !== "null");
  if (depth >= DEEPEST) return null;
  if (type === "array") return [];
  if (type === "integer" || type === "number") return found.minimum ?? 0;
  if (type === "boolean") return false;
  if (type === "string") return "";
  const required = found.required ?? [];
  const names = Object.keys(found.properties ?? {}).filter((name) => required.includes(name));
  return Object.fromEntries(names.map((name) => [name, example(found.properties[name], depth + 1)]));
}

/** A schema with its references replaced, as far as it is worth reading. */
function expand(schema, depth = 0) {
  if (Array.isArray(schema)) return schema.map((one) => expand(one, depth));
  if (schema === null || typeof schema !== "object") return schema;
  if (schema.$ref && depth >= DEEPEST) return { type: typeOf(schema) };
  const found = schema.$ref ? { ...resolve(schema) } : schema;
  return Object.fromEntries(Object.entries(found).map(([key, value]) => [key, expand(value, depth + 1)]));
}

function operations() {
  return Object.entries(description.paths ?? {}).flatMap(([path, methods]) =>
    METHODS.filter((method) => methods[method]).map((method) => ({ path, method, ...methods[method] })));
}

function showGroups() {
  const wanted = find("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const groups = new Map();
  for (const operation of operations()) {
    const text = `${operation.method} ${operation.path} ${operation.summary}`.toLowerCase();
    if (!wanted.every((word) => text.includes(word))) continue;
    const tag = operation.tags?.[0] ?? "other";
    groups.set(tag, [...(groups.get(tag) ?? []), operation]);
  }
  const current = decodeURIComponent(location.hash.slice(1));
  const shown = [...document.querySelectorAll("#groups details[open]")].map((group) => group.dataset.tag);
  const sorted = [...groups].sort(([a], [b]) => a.localeCompare(b));
  find("groups").replaceChildren(...sorted.map(([tag, all]) => {
    const isOpen = wanted.length > 0 || shown.includes(tag) || all.some((operation) => operation.operationId === current);
    const links = all.map((operation) => {
      const link = make("a", { href: `#${encodeURIComponent(operation.operationId)}`, title: operation.summary },
        make("span", { className: `method ${operation.method}` }, operation.method),
        make("span", {}, operation.path.replace(/^\/api\/fleet/, "")));
      if (operation.operationId === current) link.setAttribute("aria-current", "page");
      return link;
    });
    return make("details", { open: isOpen, "data-tag": tag }, make("summary", {}, tag, " ", make("span", {}, String(all.length))), ...links);
  }));
}

function parameterTable(parameters, fields) {
  const rows = parameters.map((parameter) => {
    const schema = resolve(parameter.schema);
    const input = make("input", { "aria-label": parameter.name, placeholder: typeOf(parameter.schema) });
    fields.push({ parameter, input });
    const text = parameter.description ?? parameter.schema?.description ?? schema.description ?? "";
    return make("tr", {},
      make("td", {}, make("code", { className: parameter.required ? "required" : "" }, parameter.name),
        make("div", { className: "quiet" }, parameter.in)),
      make("td", {}, input), make("td", {}, text));
  });
  return make("table", {}, make("tbody", {}, ...rows));
}

function schemaBox(title, schema) {
  return make("details", {}, make("summary", {}, title), make("pre", {}, JSON.stringify(expand(schema), null, 2)));
}

function answers(operation) {
  return Object.entries(operation.responses ?? {}).flatMap(([status, response]) => {
    const content = Object.entries(response.content ?? {});
    if (content.length === 0) return [make("p", {}, `${status}: ${response.description ?? ""}`)];
    return content.map(([media, { schema }]) => schemaBox(`${status} · ${response.description ?? ""} · ${media}`, schema ?? {}));
  });
}

function showOperation() {
  const id = decodeURIComponent(location.hash.slice(1));
  const operation = operations().find((one) => one.operationId === id);
  showGroups();
  if (!operation) return;
  const fields = [];
  const parts = [
    make("h2", {}, make("span", { className: `method ${operation.method}` }, operation.method), make("code", {}, operation.path)),
    make("p", {}, operation.summary ?? ""),
    operation.description ? make("p", { className: "quiet" }, operation.description) : null,
    make("p", { className: "quiet" }, operation["x-right"] ? `Needs the right ${operation["x-right"]}.` : "Anybody may ask this."),
  ];
  if (operation.parameters?.length) {
    parts.push(make("h3", {}, "Parameters"), parameterTable(operation.parameters, fields));
  }
  const [media, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  let body = null;
  if (media) {
    const text = media === "application/json" ? JSON.stringify(example(content.schema), null, 2) : "";
    body = make("textarea", { spellcheck: false, value: text, "aria-label": "Body" });
    parts.push(make("h3", {}, `Body · ${media}`), body, schemaBox("Schema", content.schema ?? {}));
  }
  const result = make("div", { "aria-live": "polite" });
  const button = make("button", { type: "button" }, "Send");
  button.addEventListener("click", () => send(operation, fields, media, body, button, result));
  parts.push(make("div", { className: "send" }, button), result, make("h3", {}, "Answers"), ...answers(operation));
  find("operation").replaceChildren(...parts.filter(Boolean));
  find("operation").scrollIntoView?.({ block: "nearest" });
}

function headersOf(operation) {
  const headers = { "kbn-xsrf": "true" };
  const scheme = find("scheme").value;
  if (scheme === "password") {
    const pair = new TextEncoder().encode(`${find("username").value}:${find("password").value}`);
    headers.authorization = `Basic ${btoa(String.fromCharCode(...pair))}`;
  } else if (scheme === "key") {
    headers.authorization = `ApiKey ${find("key").value.trim()}`;
  } else if (operation.method !== "get" && csrf) {
    headers["x-csrf-token"] = csrf;
  }
  return headers;
}

async function send(operation, fields, media, body, button, result) {
  const query = new URLSearchParams();
  let path = operation.path;
  const headers = headersOf(operation);
  for (const { parameter, input } of fields) {
    const value = input.value;
    if (parameter.in === "path") path = path.replace(new RegExp(`\\{\\*?${parameter.name}\\}`), encodeURIComponent(value));
    else if (value !== "" && parameter.in === "header") headers[parameter.name] = value;
    else if (value !== "") query.append(parameter.name, value);
  }
  const url = query.size ? `${path}?${query}` : path;
  if (body) headers["content-type"] = media;
  button.disabled = true;
  const stop = new AbortController();
  const began = performance.now();
  try {
    const credentials = find("scheme").value === "session" ? "same-origin" : "omit";
    const options = { method: operation.method.toUpperCase(), headers, credentials, signal: stop.signal };
    if (body) options.body = body.value;
    await showAnswer(await fetch(url, options), url, operation, began, result, stop);
  } catch (error) {
    result.replaceChildren(make("p", { className: "status bad" }, `Nothing was answered: ${error.message}`));
  } finally {
    button.disabled = false;
  }
}

async function showAnswer(response, url, operation, began, result, stop) {
  const text = make("pre", {});
  const label = `${response.status} ${response.statusText} · ${Math.round(performance.now() - began)} ms`;
  const title = make("p", { className: `status ${response.ok ? "ok" : "bad"}` }, label);
  result.replaceChildren(title, make("p", { className: "quiet" }, `${operation.method.toUpperCase()} ${url}`), text);
  const kind = response.headers.get("content-type") ?? "";
  if (kind.startsWith("text/event-stream")) {
    const end = make("button", { type: "button" }, "Stop");
    end.addEventListener("click", () => stop.abort());
    title.append(" ", end);
  }
  let shown = "";
  const decoder = new TextDecoder();
  const reader = response.body?.getReader();
  for (let part = await reader?.read(); part && !part.done && shown.length < LONGEST_ANSWER; part = await reader.read()) {
    shown += decoder.decode(part.value, { stream: true });
    text.textContent = shown;
  }
  if (shown.length >= LONGEST_ANSWER) stop.abort();
  if (kind.startsWith("application/json")) {
    try {
      text.textContent = JSON.stringify(JSON.parse(shown), null, 2);
    } catch {
      // It is shown as it came.
    }
  }
}

/** Who is signed in, and what proves that a change comes from this page. */
async function identify() {
  const scheme = find("scheme").value;
  for (const name of ["password", "key"]) {
    document.querySelectorAll(`label.${name}`).forEach((label) => { label.hidden = scheme !== name; });
  }
  find("who").textContent = "";
  if (scheme !== "session") return;
  const response = await fetch("session", { headers: { "kbn-xsrf": "true" } });
  const session = response.ok ? (await response.json()).item : null;
  csrf = session?.csrf_token ?? "";
  find("who").textContent = session ? `${session.username} is signed in.` : "Nobody is signed in.";
}

async function start() {
  const response = await fetch("openapi.json");
  description = await response.json();
  find("version").textContent = description.info?.version ?? "";
  find("about").textContent = description.info?.description ?? "";
  find("filter").addEventListener("input", showGroups);
  find("scheme").addEventListener("change", identify);
  find("identity").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", showOperation);
  showOperation();
  await identify();
}

start().catch((error) => {
  find("operation").replaceChildren(make("p", { className: "status bad" }, `The description cannot be read: ${error.message}`));
});
