// @ts-check
// The machine's thread: downloads and compiles the app, runs it with host.js,
// and speaks to the page in messages (typed below). One worker is one machine.

import { Chunks } from "./chunks.js";
import { AppError, explain, Machine, manifest } from "./host.js";

/**
 * @typedef {{ rows: number, cols: number, chunks?: import("./chunks.js").Place }} Place the terminal and the contents of files
 * @typedef {{ type: "open" } & Place & ({ app: string, size?: number } | { module: WebAssembly.Module })} Open
 * @typedef {Open
 *   | { type: "resize", rows: number, cols: number } | { type: "input", bytes: Uint8Array }
 *   | { type: "end" } | { type: "signal", number: number } | { type: "ack", bytes: number }} ToWorker
 * @typedef {{ type: "progress", loaded: number, total: number | undefined }
 *   | { type: "ready", module: WebAssembly.Module, manifest: import("./host.js").Manifest }
 *   | { type: "stages", times: [string, number][] }
 *   | { type: "translated", functions: number }
 *   | { type: "trouble", text: string | undefined }
 *   | { type: "output", bytes: Uint8Array } | { type: "log", level: number, text: string }
 *   | { type: "exit", code: number, retired: bigint, memoryBytes: number }
 *   | { type: "error", kind: import("./host.js").Kind, message: string }} FromWorker
 */

/**
 * The bar of longer downloads says how far they are, that of others moves. Counting costs a clone of the response:
 * its bytes once more in memory, and on this thread. A quarter to a third of them come over the line.
 */
const COUNTED = 32 << 20;
/** Output that the page has not drawn yet; above this the guest's writes wait. */
const UNDRAWN_MAX = 512 << 10;

const scope = /** @type {any} */ (globalThis);
/** @param {FromWorker} message @param {Transferable[]} [transfer] */
const send = (message, transfer = []) => scope.postMessage(message, transfer);

/** @type {Machine | undefined} */
let machine;
let undrawn = 0;
/** Writes that wait for the page. @type {(() => void)[]} */
let held = [];
/** Terminal size and keys that came before the machine was there. @type {Exclude<ToWorker, Open>[]} */
let early = [];
/** Stages of opening and when they ended, in milliseconds since the epoch: page and worker count from different starts. @type {[string, number][]} */
const stages = [];
/** @param {string} stage @param {number} [at] on this worker's clock */
const reached = (stage, at = performance.now()) => void stages.push([stage, performance.timeOrigin + at]);

/** @type {import("./host.js").Host} */
const host = {
  write(_fd, bytes) {
    undrawn += bytes.length;
    send({ type: "output", bytes }, [bytes.buffer]);
    if (undrawn > UNDRAWN_MAX) return new Promise((resolve) => held.push(resolve));
  },
  translator: async (engine) => {
    const { Translator } = await import("./translator.js");
    const thread = /** @type {any} */ (new Worker(new URL("translator-worker.js", scope.location.href)));
    return Translator.start(engine, thread);
  },
  translated: (functions) => send({ type: "translated", functions }),
  log: (level, text) => send({ type: "log", level, text }),
  reached(stage) {
    reached(stage);
    if (stage === "first-instruction") send({ type: "stages", times: stages });
  },
};

/**
 * Downloads and compiles at the same time. The response that compiles is the
 * network's own, so that the browser can keep the compiled code; of a large one
 * a clone is counted for the progress bar.
 * @param {string} url @param {number | undefined} expected its size, when the page knows
 */
async function load(url, expected) {
  /** @type {Response} */
  let response;
  try {
    response = await fetch(url);
  } catch (error) {
    throw new AppError("fetch", `The file ${name(url)} could not be downloaded: ${String(error)}`, error);
  }
  if (!response.ok) {
    throw new AppError("fetch", `The server answered ${response.status} for ${name(url)}.`);
  }
  const encoded = response.headers.has("content-encoding");
  const length = encoded ? 0 : Number(response.headers.get("content-length"));
  const total = length || expected;
  const counted = total && total < COUNTED ? undefined : count(response.clone(), total);
  const streaming = /^application\/wasm\b/i.test(response.headers.get("content-type") ?? "");
  try {
    // A server that does not know the type costs only the overlap of download and compilation.
    const module = await (streaming ? WebAssembly.compileStreaming(response) : response.arrayBuffer().then(compile));
    const [resource] = performance.getEntriesByName(response.url, "resource");
    reached("download", /** @type {PerformanceResourceTiming | undefined} */ (resource)?.responseEnd);
    reached("compile");
    return module;
  } catch (error) {
    if (error instanceof WebAssembly.CompileError || error instanceof AppError) throw error;
    throw new AppError("fetch", `The download of ${name(url)} broke off: ${String(error)}`, error);
  } finally {
    counted?.stop();
  }
}

/** @param {ArrayBuffer} bytes */
function compile(bytes) {
  const magic = new Uint8Array(bytes, 0, Math.min(4, bytes.byteLength));
  if (String.fromCharCode(...magic) !== "\0asm") {
    throw new AppError("not-an-app", "The server sent something that is not WebAssembly.");
  }
  return WebAssembly.compile(bytes);
}

/** The last part of a URL. @param {string} url */
function name(url) {
  return decodeURIComponent(new URL(url, scope.location.href).pathname.split("/").pop() || url);
}

/** Tells the page how far the download is. @param {Response} response @param {number | undefined} total */
function count(response, total) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  let loaded = 0;
  let told = 0;
  const read = async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      loaded += value.length;
      const now = performance.now();
      if (now - told > 50) {
        told = now;
        send({ type: "progress", loaded, total });
      }
    }
  };
  // Its failure is that of the response itself, which is told there.
  read().catch(() => {});
  return { stop: () => void reader.cancel().catch(() => {}) };
}

/** @param {Open} message */
async function open(message) {
  if (typeof WebAssembly !== "object" || !WebAssembly.compileStreaming) {
    throw new AppError("unsupported", "This browser has no WebAssembly, or has it switched off.");
  }
  const { chunks, rows, cols } = message;
  if (chunks) {
    const contents = new Chunks(chunks, (text) => send({ type: "trouble", text }));
    host.chunk = (offset, len, again) => contents.read(offset, len, again);
  }
  const module = "module" in message ? message.module : await load(message.app, message.size);
  send({ type: "ready", module, manifest: manifest(module) });
  machine = await Machine.open(module, host);
  // The guest's first look at its terminal must find its size.
  machine.resize(rows, cols);
  early.splice(0).forEach(deliver);
  const code = await machine.run();
  send({ type: "exit", code, retired: machine.retired, memoryBytes: machine.memoryBytes });
}

/** @param {Exclude<ToWorker, Open>} message */
function deliver(message) {
  if (message.type === "ack") {
    undrawn -= message.bytes;
    if (undrawn <= UNDRAWN_MAX / 2) held.splice(0).forEach((go) => go());
    return;
  }
  if (!machine) {
    early.push(message);
    return;
  }
  switch (message.type) {
    case "resize":
      return machine.resize(message.rows, message.cols);
    case "input":
      return machine.input(message.bytes);
    case "end":
      return machine.endInput();
    case "signal":
      return machine.signal(message.number);
  }
}

scope.onmessage = (/** @type {MessageEvent<ToWorker>} */ { data }) => {
  if (data.type !== "open") return deliver(data);
  open(data).catch((error) => {
    const { kind, message } = explain(error);
    send({ type: "error", kind, message });
  });
};
