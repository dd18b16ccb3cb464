// @ts-check
// The page: a terminal in front of the machine that runs in worker.js.
// What it opens is named in friscy.json, beside this file.

import { LineInput } from "./lines.js";
import { follow } from "./theme.js";

/** @typedef {import("./worker.js").FromWorker} FromWorker */
/** @typedef {import("./worker.js").ToWorker} ToWorker */
/** @typedef {{ app: string, bytes?: number, title?: string, tty?: boolean }} Config */

/** What to do about a failure, by its kind. @type {Record<import("./host.js").Kind, [string, string]>} */
const HELP = {
  unsupported: [
    "This browser cannot run it",
    "It needs WebAssembly: a current Chrome, Edge, Firefox or Safari. Some lockdown modes switch it off.",
  ],
  damaged: ["The file is damaged", "Reload the page; if that does not help, the file must be made or uploaded again."],
  "not-an-app": [
    "This is not an app",
    "Check that the server hands out the .wasm file unchanged: `friscy-snap inspect FILE` tells what it is.",
  ],
  version: ["File and page do not fit together", "`friscy-snap bundle` writes both, in matching versions."],
  memory: ["Out of memory", "Close other tabs, or pack the image with a smaller --memory."],
  fetch: [
    "The download failed",
    "Check the connection, and that the whole directory that `friscy-snap bundle` wrote is on the server.",
  ],
  crash: ["The machine broke down", "Start it again; if it happens again, it is a bug of friscy, please report it."],
};

const body = document.body;
/** @template {HTMLElement} T @param {string} id @returns {T} */
const element = (id) => /** @type {T} */ (document.getElementById(id));
const encoder = new TextEncoder();

/** @type {Worker | undefined} */
let worker;
/** The compiled app, for a restart without a download. @type {WebAssembly.Module | undefined} */
let compiled;
/** @type {Config | undefined} */
let config;
/** @type {import("@xterm/xterm").Terminal | undefined} */
let terminal;
/** @type {LineInput | undefined} */
let lines;
/** The touch key Ctrl is held. */
let control = false;
let heard = false;

/** @param {ToWorker} message */
const tell = (message) => worker?.postMessage(message);

/** @param {"loading" | "running" | "exited" | "failed"} state @param {string} status @param {boolean} [bad] */
function show(state, status, bad = false) {
  body.dataset.state = state;
  element("status").textContent = status;
  element("status").toggleAttribute("data-bad", bad);
  element("failure").hidden = state !== "failed";
}

/** @param {import("./host.js").Kind} kind @param {string} message */
function fail(kind, message) {
  const [title, help] = HELP[kind] ?? HELP.crash;
  worker?.terminate();
  worker = undefined;
  element("failure-title").textContent = title;
  element("failure-text").textContent = message;
  // Commands stand between backquotes.
  const pieces = help.split("`").map((text, at) => {
    if (at % 2 === 0) return text;
    const code = document.createElement("code");
    code.textContent = text;
    return code;
  });
  element("failure-help").replaceChildren(...pieces);
  show("failed", "failed", true);
}

/** Several sizes in one unit, that of the last. @param {number[]} sizes */
function sizes(...sizes) {
  const largest = sizes[sizes.length - 1];
  const [unit, name, digits] = largest < 1e6 ? [1e3, "kB", 0] : [1e6, "MB", largest < 1e7 ? 1 : 0];
  return `${sizes.map((size) => (size / unit).toFixed(digits)).join(" of ")} ${name}`;
}

/** @param {number} loaded @param {number | undefined} total */
function progress(loaded, total) {
  const bar = element("bar");
  if (total && loaded <= total) {
    const percent = Math.round((100 * loaded) / total);
    bar.setAttribute("aria-valuenow", String(percent));
    element("fill").style.width = `${percent}%`;
    element("amount").textContent = sizes(loaded, total);
  } else {
    bar.removeAttribute("aria-valuenow");
    element("amount").textContent = sizes(loaded);
  }
}

/** @param {string} text */
function title(text) {
  document.title = text;
  element("title").textContent = text;
}

/** Name of the app: its tag, else its program. @param {import("./host.js").Manifest} manifest */
function name({ image, entry }) {
  const [tag] = image.tags ?? [];
  return tag?.replace(/:latest$/, "") ?? entry.argv?.join(" ") ?? config?.title ?? "friscy";
}

/** @param {FromWorker} message */
function hear(message) {
  switch (message.type) {
    case "progress":
      return progress(message.loaded, message.total);
    case "ready":
      compiled = message.module;
      title(name(message.manifest));
      lines = !message.manifest.entry.tty ? lineInput() : undefined;
      if (terminal) terminal.options.convertEol = lines !== undefined;
      return show("running", "running");
    case "stages":
      for (const [stage, time] of message.times) mark(stage, time - performance.timeOrigin);
      return;
    case "output": {
      if (!heard) mark("first-output");
      heard = true;
      const { length } = message.bytes;
      terminal?.write(message.bytes, () => tell({ type: "ack", bytes: length }));
      return;
    }
    case "log":
      return console.info(message.text);
    case "exit":
      worker?.terminate();
      worker = undefined;
      return show("exited", `exited with code ${message.code}`, message.code !== 0);
    case "error":
      return fail(message.kind, message.message);
  }
}

/** A line in the page's timeline, for whoever measures: docs/FORMATS.md, "Marks of the page". @param {string} stage @param {number} [startTime] */
function mark(stage, startTime) {
  performance.mark(`friscy:${stage}`, { startTime });
}

function lineInput() {
  return new LineInput((text) => terminal?.write(text), {
    input: (text) => tell({ type: "input", bytes: encoder.encode(text) }),
    end: () => tell({ type: "end" }),
    signal: (number) => tell({ type: "signal", number }),
  });
}

/** Keys and pastes to the guest. @param {string} text */
function type(text) {
  if (control) {
    press(false);
    if (/^[@-_a-z]$/.test(text)) text = String.fromCharCode(text.toUpperCase().charCodeAt(0) & 31);
  }
  if (lines) lines.type(text);
  else tell({ type: "input", bytes: encoder.encode(text) });
}

/** @param {boolean} down */
function press(down) {
  control = down;
  document.querySelector("[data-modifier]")?.setAttribute("aria-pressed", String(down));
}

function tellSize() {
  if (terminal) tell({ type: "resize", rows: terminal.rows, cols: terminal.cols });
}

/** Starts a machine: from the compiled app when there is one. */
async function start() {
  worker?.terminate();
  show("loading", "loading");
  try {
    const fresh = new Worker(new URL("worker.js", import.meta.url), { type: "module", name: "machine" });
    worker = fresh;
    fresh.onmessage = ({ data }) => worker === fresh && hear(data);
    fresh.onerror = (event) => {
      event.preventDefault();
      if (worker === fresh) fail("unsupported", event.message || "The page's worker did not start.");
    };
    if (compiled) {
      tell({ type: "open", module: compiled });
    } else {
      config ??= await configuration();
      if (config.title) title(config.title);
      tell({ type: "open", app: new URL(config.app, document.baseURI).href, size: config.bytes });
    }
    tellSize();
    terminal?.focus();
  } catch (error) {
    fail("fetch", error instanceof Error ? error.message : String(error));
  }
}

/** @returns {Promise<Config>} */
async function configuration() {
  const response = await fetch("friscy.json");
  if (!response.ok) throw new Error(`The server answered ${response.status} for friscy.json, which names the app.`);
  try {
    return await response.json();
  } catch {
    throw new Error("friscy.json, which names the app, is not JSON.");
  }
}

/** @param {KeyboardEvent} event @returns {boolean} whether the terminal should have the key */
function shortcut(event) {
  if (event.type !== "keydown" || !event.ctrlKey || !event.shiftKey) return true;
  if (event.code === "KeyC") {
    event.preventDefault();
    copy();
    return false;
  }
  // The browser pastes by itself; the terminal gets the paste event.
  return event.code !== "KeyV";
}

/** The selection to the clipboard; an iframe without that permission gets the old way. */
function copy() {
  const text = terminal?.getSelection();
  if (!text) return;
  const old = () => document.execCommand("copy");
  if (navigator.clipboard) navigator.clipboard.writeText(text).catch(old);
  else old();
}

async function paste() {
  try {
    terminal?.paste(await navigator.clipboard.readText());
  } catch {
    element("status").textContent = "the browser does not let this page read the clipboard";
  }
}

async function openTerminal() {
  const [{ Terminal }, { FitAddon }] = await Promise.all([
    import("./vendor/xterm.mjs"),
    import("./vendor/addon-fit.mjs"),
  ]);
  const opened = new Terminal({
    cursorBlink: true,
    fontFamily: 'ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace',
    fontSize: matchMedia("(pointer: coarse)").matches ? 12 : 14,
    scrollback: 5000,
    allowTransparency: false,
    macOptionIsMeta: true,
  });
  const fit = new FitAddon();
  opened.loadAddon(fit);
  opened.open(element("terminal"));
  opened.attachCustomKeyEventHandler(shortcut);
  opened.onData(type);
  opened.onBinary((text) => tell({ type: "input", bytes: Uint8Array.from(text, (c) => c.charCodeAt(0)) }));
  opened.onTitleChange((text) => text && title(text));
  opened.onResize(tellSize);
  follow((theme) => (opened.options.theme = theme));
  fit.fit();
  new ResizeObserver(() => fit.fit()).observe(element("screen"));
  terminal = opened;
  tellSize();
  opened.focus();
}

function wireButtons() {
  element("restart").onclick = () => {
    terminal?.reset();
    void start();
  };
  element("retry").onclick = () => location.reload();
  element("keys").onclick = (event) => {
    const { key, modifier, action } = /** @type {HTMLElement} */ (event.target).dataset;
    if (key) type(key);
    if (modifier) press(!control);
    if (action) void paste();
    terminal?.focus();
  };
}

wireButtons();
const starting = start();
try {
  await openTerminal();
} catch (error) {
  fail("fetch", `The terminal of the page could not be loaded: ${String(error)}`);
}
await starting;

// What tests and the curious may touch.
/** @type {any} */ (globalThis).friscy = { terminal };
