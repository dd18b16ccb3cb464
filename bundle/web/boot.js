// @ts-check
// The first lines that the page runs, inlined into it: they start the machine
// before anything else is loaded, and keep what it says until main.js, which
// brings the terminal, has come.

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

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
/** @type {Config} */
const config = JSON.parse(element("config").textContent);
const url = (/** @type {string} */ relative) => new URL(relative, document.baseURI).href;
if (config.chunks) config.chunks.url = url(config.chunks.url);

/** Rows and columns that the terminal will have, nearly always. */
function guess() {
  const fontSize = matchMedia("(pointer: coarse)").matches ? 12 : 14;
  const probe = document.createElement("span");
  probe.textContent = "W".repeat(64);
  probe.style.cssText = `position:absolute;visibility:hidden;white-space:pre;font:${fontSize}px ${FONT}`;
  const screen = element("terminal");
  screen.append(probe);
  const style = getComputedStyle(screen);
  const space = (/** @type {string[]} */ ...names) =>
    names.reduce((sum, name) => sum + parseFloat(style.getPropertyValue(`padding-${name}`)), 0);
  const width = screen.clientWidth - space("left", "right") - SCROLLBAR;
  const height = screen.clientHeight - space("top", "bottom");
  const cell = probe.getBoundingClientRect();
  probe.remove();
  const cols = Math.max(2, Math.floor((width * 64) / cell.width));
  const rows = Math.max(1, Math.floor(height / cell.height));
  return { rows, cols, font: FONT, fontSize };
}

const size = guess();

/** A mark in the page's timeline, for whoever measures: docs/FORMATS.md. @param {string} stage @param {number} [startTime] */
function mark(stage, startTime) {
  performance.mark(`friscy:${stage}`, { startTime });
}

/** A machine of its own. @param {WebAssembly.Module} [module] the compiled app, if there was a machine before */
function start(module) {
  const worker = new Worker(new URL("worker.js", document.baseURI), { name: "machine" });
  /** @type {FromWorker[]} */
  const early = [];
  let said = false;
  /** @type {(message: FromWorker) => void} */
  let hear = (message) => void early.push(message);
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

/** What main.js finds. */
export const boot = { config, size, mark, start, first: start() };
/** @type {any} */ (globalThis).friscy = { boot };
