// @ts-check
// The first lines that the page runs, inlined into it: they start the machine
// before anything else is loaded, and show its first words as plain text
// (first.js). The terminal, main.js, comes when those are on the screen, or at
// once when they are more than text or somebody types.

import { FirstScreen } from "./first.js";
import { current } from "./theme.js";

/** @typedef {import("./worker.js").ToWorker} ToWorker */
/** @typedef {import("./worker.js").FromWorker} FromWorker */
/**
 * @typedef {object} Config what the page opens; in the page itself, written by `friscy-snap`
 * @property {string} app URL of app.wasm
 * @property {number} [bytes] its length
 * @property {string} [title]
 * @property {import("./chunks.js").Place} [chunks] its chunk store, when that is beside it
 */

/** The terminal's, for a first guess at its size. */
const FONT = 'ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace';
/** What the terminal keeps free for its scroll bar. */
const SCROLLBAR = 14;
/** A start that takes so long shows that it does. */
const SLOW_MS = 250;
/** A program that has said nothing for so long gets its terminal all the same. It starts slowly as it is: not before. */
const SILENT_MS = 3000;
/** From the first screen to the terminal, when nobody types. */
const TERMINAL_MS = 100;
/** Keys that have no text of their own, as a terminal sends them. @type {Record<string, string>} */
const KEYS = {
  Enter: "\r",
  Tab: "\t",
  Backspace: "\x7f",
  Escape: "\x1b",
  Delete: "\x1b[3~",
  ArrowUp: "\x1b[A",
  ArrowDown: "\x1b[B",
  ArrowRight: "\x1b[C",
  ArrowLeft: "\x1b[D",
};

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
/** @type {Config} */
const config = JSON.parse(element("config").textContent);
const url = (/** @type {string} */ relative) => new URL(relative, document.baseURI).href;
if (config.chunks) config.chunks.url = url(config.chunks.url);
if (config.title) element("title").textContent = config.title;

/** Rows and columns that the terminal will have, nearly always, and how its text is set. */
function guess() {
  const fontSize = matchMedia("(pointer: coarse)").matches ? 12 : 14;
  const screen = element("terminal");
  const probe = element("first");
  probe.style.font = `${fontSize}px ${FONT}`;
  probe.textContent = "W".repeat(64);
  const style = getComputedStyle(screen);
  const space = (/** @type {string[]} */ ...names) =>
    names.reduce((sum, name) => sum + parseFloat(style.getPropertyValue(`padding-${name}`)), 0);
  const width = screen.clientWidth - space("left", "right") - SCROLLBAR;
  const height = screen.clientHeight - space("top", "bottom");
  const cell = probe.getBoundingClientRect();
  // The terminal's rows are a whole number of the screen's pixels.
  const rowHeight = Math.ceil(cell.height * devicePixelRatio) / devicePixelRatio;
  probe.style.lineHeight = `${rowHeight}px`;
  probe.textContent = "";
  const cols = Math.max(2, Math.floor((width * 64) / cell.width));
  const rows = Math.max(1, Math.floor(height / rowHeight));
  return { rows, cols, font: FONT, fontSize };
}

/** A mark in the page's timeline, for whoever measures: docs/FORMATS.md. @param {string} stage @param {number} [startTime] */
function mark(stage, startTime) {
  performance.mark(`friscy:${stage}`, { startTime });
}

/** @type {ReturnType<typeof guess> | undefined} */
let size;

/** A machine of its own. @param {WebAssembly.Module} [module] the compiled app, if there was a machine before */
function start(module) {
  const worker = new Worker(new URL("worker.js", document.baseURI), { name: "machine" });
  /** @type {FromWorker[]} */
  const early = [];
  let said = false;
  /** @type {(message: FromWorker) => void} */
  let hear = (message) => {
    early.push(message);
    welcome(message);
  };
  const listen = (/** @type {FromWorker} */ message) => {
    if (message.type === "stages") for (const [stage, time] of message.times) mark(stage, time - performance.timeOrigin);
    if (message.type === "output" && !said && !module) mark("first-output");
    said ||= message.type === "output";
    hear(message);
  };
  worker.onmessage = ({ data }) => listen(data);
  worker.onerror = (event) => {
    event.preventDefault();
    listen({ type: "error", kind: "unsupported", message: event.message || "The page's worker did not start." });
  };
  // Measuring takes a layout of the page, which goes on while the worker comes up.
  size ??= guess();
  const { rows, cols } = size;
  /** @type {ToWorker} */
  const open = module
    ? { type: "open", module, rows, cols, chunks: config.chunks }
    : { type: "open", app: url(config.app), size: config.bytes, rows, cols, chunks: config.chunks };
  worker.postMessage(open);
  return {
    worker,
    /** Hear what it said and will say. @param {(message: FromWorker) => void} listener */
    follow(listener) {
      hear = listener;
      early.splice(0).forEach(listener);
    },
  };
}

/** What was typed and pasted before there was a terminal. @type {{ text: string, pasted: boolean }[]} */
const typed = [];
/** @type {FirstScreen | undefined} */
let screen;
let drawn = false;
let drawing = false;
/** {@link SLOW_MS} are over. */
let slow = false;

/** What the machine says before the terminal is there. @param {FromWorker} message */
function welcome(message) {
  switch (message.type) {
    case "stages":
    case "translated":
      return;
    case "ready":
      screen = new FirstScreen(/** @type {NonNullable<typeof size>} */ (size), !message.manifest.entry.tty);
      if (slow) show();
      setTimeout(() => !drawn && loadTerminal(), SILENT_MS);
      return;
    case "output":
      if (!screen?.write(message.bytes)) return loadTerminal();
      if (!drawing) requestAnimationFrame(draw);
      drawing = true;
      return;
    // Progress, failures, the end: the whole page is needed for them.
    default:
      return loadTerminal();
  }
}

/** Puts the first screen on the page, unless the terminal has taken its place. @returns {boolean} whether it did */
function show() {
  const first = document.getElementById("first");
  if (!first || !screen?.able) return false;
  first.replaceChildren(screen.nodes(current()));
  if (document.body.dataset.state === "loading") {
    document.body.dataset.state = "running";
    element("status").textContent = "running";
  }
  return true;
}

/** Shows what the program has said. */
function draw() {
  drawing = false;
  if (!show() || drawn) return;
  drawn = true;
  mark("drawn");
  // Not in the way of this frame, which other threads and processes still bring to the screen.
  setTimeout(loadTerminal, TERMINAL_MS);
}

let loading = false;
function loadTerminal() {
  if (loading) return;
  loading = true;
  import("./main.js").catch((error) => {
    element("status").textContent = `the terminal could not be downloaded: ${error.message}`;
    element("status").toggleAttribute("data-bad", true);
  });
}

/** A key before there is a terminal: as much of a keyboard as a line needs. @param {KeyboardEvent} event */
function key(event) {
  const { key, ctrlKey, altKey, metaKey, isComposing } = event;
  if (document.activeElement !== document.body || altKey || metaKey || isComposing) return;
  const letter = ctrlKey && !event.shiftKey && /^[a-z]$/.test(key);
  const text = letter ? String.fromCharCode(key.charCodeAt(0) & 31) : !ctrlKey && key.length === 1 ? key : KEYS[key];
  if (text === undefined || (ctrlKey && !letter)) return;
  event.preventDefault();
  typed.push({ text, pasted: false });
  loadTerminal();
}

/** @param {ClipboardEvent} event */
function paste(event) {
  const text = event.clipboardData?.getData("text/plain");
  if (text) typed.push({ text, pasted: true });
  loadTerminal();
}

document.addEventListener("keydown", key);
document.addEventListener("paste", paste);
document.addEventListener("pointerdown", loadTerminal);

setTimeout(() => {
  slow = true;
  // The program runs and says nothing yet: that is shown as an empty screen, and costs no frames.
  if (screen) show();
  else document.body.toggleAttribute("data-slow", true);
}, SLOW_MS);
const first = start();

/** What main.js finds. */
export const boot = {
  config,
  size: /** @type {NonNullable<typeof size>} */ (size),
  mark,
  start,
  first,
  /** The terminal hears the keyboard from now on. @returns {typeof typed} what came before */
  release() {
    document.removeEventListener("keydown", key);
    document.removeEventListener("paste", paste);
    document.removeEventListener("pointerdown", loadTerminal);
    return typed.splice(0);
  },
  /** Something of the guest's has been drawn. */
  get drawn() {
    return drawn;
  },
};
/** @type {any} */ (globalThis).friscy = { boot };
