// The public API (see docs/openapi.json). Addresses are relative to the page, so they hold under any prefix.

import { access, anotherKey, identity } from "./key.js";

const PASSING = [429, 502, 503, 504]; // answers of a server, or of a proxy in front of it, that will not last

// An answer that is an error, in the server's own words; or no answer at all.
export class Problem extends Error {
  constructor(detail, { status = 0, retryAfterS = 0, code = "" } = {}) {
    super(detail);
    this.status = status; // 0: the server could not be reached
    this.retryAfterS = retryAfterS;
    this.code = code; // what a program may do about it
  }

  get lost() {
    return this.status === 0;
  }

  // Whether the same request may well succeed a little later.
  get passing() {
    return this.lost || PASSING.includes(this.status);
  }
}

const unreachable = () => new Problem("The server can't be reached.");
export const aborted = () => new DOMException("aborted", "AbortError");
export const isAbort = (error) => error?.name === "AbortError";

function problemOf(status, text, retryAfter) {
  let body = {};
  try {
    body = JSON.parse(text);
  } catch {
    // a proxy's page, say
  }
  const detail = body.detail ?? body.error?.detail ?? `The server answered ${status}.`;
  return new Problem(detail, { status, retryAfterS: Number(retryAfter) || 0, code: body.code ?? body.error?.code });
}

function parsed(text, status) {
  try {
    return JSON.parse(text);
  } catch {
    const answered = status < 400 ? 502 : status;
    throw new Problem("Something between this page and the server answered in its place.", { status: answered });
  }
}

// Like fetch(), but every answer that is no success is thrown as a Problem.
async function call(path, options = {}) {
  const { key } = access.get();
  const headers = { ...identity(key), ...options.headers };
  const response = await fetch(path, { ...options, headers }).catch((error) => {
    throw isAbort(error) ? error : unreachable();
  });
  if (response.ok) return response;
  if (response.status === 401 && (await anotherKey(key))) return call(path, options);
  throw problemOf(response.status, await response.text(), response.headers.get("Retry-After"));
}

export async function json(path, options) {
  const response = await call(path, options);
  return parsed(await response.text(), response.status);
}
export const text = async (path, options) => (await call(path, options)).text();
export const blob = async (path, options) => (await call(path, options)).blob();
export const remove = (path) => call(path, { method: "DELETE" });

// A list that the API gives page by page: { items, next }, next being the address of the next page, if there is one.
export async function page(path, options) {
  const response = await call(path, options);
  const [, next] = /<([^>]+)>; rel="next"/.exec(response.headers.get("Link") ?? "") ?? [];
  return { items: await response.json(), next };
}

// once: a name for this request (Idempotency-Key); however often it is sent, the server does it once.
const naming = (once) => (once ? { "Idempotency-Key": once } : {});

export function post(path, body, { once, ...options } = {}) {
  const headers = { ...naming(once), ...(body !== undefined && { "Content-Type": "application/json" }) };
  return json(path, { method: "POST", body: body && JSON.stringify(body), headers, ...options });
}

function form(fields) {
  const data = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one instanceof Blob) data.append(name, one, one.name || "picture");
      else if (one !== undefined && one !== null && one !== "") data.append(name, one);
    }
  }
  return data;
}

// Send a form and tell how much of it is sent, 0 to 1. fetch() can't tell, XMLHttpRequest can.
export async function upload(path, fields, { onSent = () => {}, signal, once } = {}) {
  const { key } = access.get();
  const headers = { ...identity(key), ...naming(once), Accept: "application/json" };
  const request = await sent(path, headers, form(fields), onSent, signal);
  const { status, responseText } = request;
  if (status < 300) return parsed(responseText, status);
  if (status === 401 && (await anotherKey(key))) return upload(path, fields, { onSent, signal, once });
  throw problemOf(status, responseText, request.getResponseHeader("Retry-After"));
}

function sent(path, headers, body, onSent, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const request = new XMLHttpRequest();
    request.open("POST", path);
    for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => event.lengthComputable && onSent(event.loaded / event.total);
    request.onload = () => resolve(request);
    request.onerror = () => reject(unreachable());
    request.onabort = () => reject(aborted());
    // Once all is sent the server may have begun, and only its answer says what there is to cancel.
    let isSent = false;
    request.upload.onload = () => (isSent = true);
    const abort = () => isSent || request.abort();
    request.onloadend = () => signal?.removeEventListener("abort", abort);
    signal?.addEventListener("abort", abort);
    request.send(body);
  });
}

// Call onEvent(name, data) for each server-sent event, until the stream ends. EventSource can't send a key.
export async function events(path, onEvent, { signal, lastId } = {}) {
  const response = await call(path, { signal, headers: lastId ? { "Last-Event-ID": lastId } : {} });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { done, value } = await reader.read().catch((error) => {
      throw isAbort(error) ? error : unreachable();
    });
    if (done) return;
    const blocks = (rest + value.replaceAll("\r", "")).split("\n\n");
    rest = blocks.pop();
    for (const { name, data } of blocks.map(eventOf)) if (data) onEvent(name, JSON.parse(data));
  }
}

function eventOf(block) {
  const event = { name: "message", data: "" };
  for (const line of block.split("\n")) {
    const [, field, content] = /^(\w+): ?(.*)$/.exec(line) ?? [];
    if (field === "data") event.data += content;
    if (field === "event") event.name = content;
  }
  return event;
}
