// @ts-check
// The page: a terminal in front of the machine that runs in worker.js, and
// that boot.js has started already. It takes the place of the first screen.

import style from "@xterm/xterm/css/xterm.css";
import { FitAddon } from "@xterm/addon-fit";
import { Terminal } from "@xterm/xterm";

import { LineInput } from "./lines.js";
import { follow } from "./theme.js";

/** @typedef {import("./worker.js").FromWorker} FromWorker */
/** @typedef {import("./worker.js").ToWorker} ToWorker */

/** @type {typeof import("./boot.js").boot} */
const boot = /** @type {any} */ (globalThis).friscy.boot;
const { config, first, mark, size, start } = boot;

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

/** Of log lines: contents of files are lost. */
const LOG_FAILURE = 2;
const body = document.body;
/** @template {HTMLElement} T @param {string} id @returns {T} */
const element = (id) => /** @type {T} */ (document.getElementById(id));
const encoder = new TextEncoder();

/** @type {ReturnType<typeof start> | undefined} */
let running;
/** The compiled app, for a restart without a download. @type {WebAssembly.Module | undefined} */
let compiled;
/** @type {LineInput | undefined} */
let lines;
/** The touch key Ctrl is held. */
let control = false;
/** What goes wrong for now. @type {string | undefined} */
let trouble;
/** The terminal was given something to draw. */
let written = false;

/** @param {ToWorker} message */
const tell = (message) => running?.worker.postMessage(message);

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
  stop();
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
  // The browser draws its tab anew each time.
  if (document.title !== text) document.title = text;
  element("title").textContent = text;
}

/** Name of the app: its tag, else its program. @param {import("./host.js").Manifest} manifest */
function name({ image, entry }) {
  const [tag] = image.tags ?? [];
  return tag?.replace(/:latest$/, "") ?? entry.argv?.join(" ") ?? config.title ?? "friscy";
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
      terminal.options.convertEol = lines !== undefined;
      return show("running", trouble ?? "running", trouble !== undefined);
    case "stages":
      return;
    case "translated":
      performance.mark("friscy:translated", { detail: message.functions });
      return;
    case "trouble":
      trouble = message.text;
      if (body.dataset.state === "running") show("running", trouble ?? "running", trouble !== undefined);
      return;
    case "output": {
      const { length } = message.bytes;
      terminal.write(message.bytes, () => {
        if (!written) requestAnimationFrame(takeOver);
        written = true;
        tell({ type: "ack", bytes: length });
      });
      return;
    }
    case "log":
      if (message.level === LOG_FAILURE) terminal.write(`\r\n\x1b[31m${message.text}\x1b[0m\r\n`);
      return console.info(message.text);
    case "exit":
      stop();
      return show("exited", `exited with code ${message.code}`, message.code !== 0);
    case "error":
      return fail(message.kind, message.message);
  }
}

/** The terminal shows what the first screen does. */
function takeOver() {
  document.getElementById("first")?.remove();
  if (!boot.drawn) mark("drawn");
  mark("terminal");
}

function lineInput() {
  return new LineInput((text) => terminal.write(text), {
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

/** The terminal is as large as the machine believes. */
function tellSize() {
  const { rows, cols } = terminal;
  if (rows === size.rows && cols === size.cols) return;
  Object.assign(size, { rows, cols });
  tell({ type: "resize", rows, cols });
}

function stop() {
  running?.worker.terminate();
  running = undefined;
}

/** Turns to a machine: what it says is heard here. @param {ReturnType<typeof start>} machine */
function turnTo(machine) {
  stop();
  running = machine;
  show("loading", "loading");
  machine.follow((message) => running === machine && hear(message));
  terminal.focus();
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
  const text = terminal.getSelection();
  if (!text) return;
  const old = () => document.execCommand("copy");
  if (navigator.clipboard) navigator.clipboard.writeText(text).catch(old);
  else old();
}

async function paste() {
  try {
    terminal.paste(await navigator.clipboard.readText());
  } catch {
    element("status").textContent = "the browser does not let this page read the clipboard";
  }
}

function openTerminal() {
  const opened = new Terminal({
    cursorBlink: true,
    fontFamily: size.font,
    fontSize: size.fontSize,
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
  follow((theme) => (opened.options.theme = theme));
  fit.fit();
  new ResizeObserver(() => fit.fit()).observe(element("screen"));
  return opened;
}

function wireButtons() {
  element("restart").onclick = () => {
    terminal.reset();
    turnTo(start(compiled));
  };
  element("retry").onclick = () => location.reload();
  element("keys").onclick = (event) => {
    const { key, modifier, action } = /** @type {HTMLElement} */ (event.target).dataset;
    if (key) type(key);
    if (modifier) press(!control);
    if (action) void paste();
    terminal.focus();
  };
}

document.head.append(Object.assign(document.createElement("style"), { textContent: style }));
document.head.append(Object.assign(document.createElement("link"), { rel: "icon", href: "icon.svg" }));
const terminal = openTerminal();
terminal.onResize(tellSize);
if (config.title) title(config.title);
wireButtons();
if (!boot.drawn) document.getElementById("first")?.remove();
turnTo(first);
tellSize();
for (const { text, pasted } of boot.release()) {
  if (pasted) terminal.paste(text);
  else type(text);
}

// What tests and the curious may touch.
/** @type {any} */ (globalThis).friscy.terminal = terminal;
