// @ts-check
// Runs an app: the host's side of the ring, the same in a browser's worker and
// in Node. Knows no terminal and no page; those are worker.js and
// ../node/friscy-node.mjs. The contract is formats/src/ring.rs.

import { AppError } from "./error.js";
import { Errno, EVENT_SIGNAL, EVENT_TRANSLATOR, EVENT_WINSIZE, Op, Ring, Status } from "./ring.js";
import { Exit, imports, monotonicMs } from "./wasi.js";

/** The manifest's format that this host reads. */
const FORMAT = 3;
/** A Log line that a user should know, and one that a user has to. */
export const LOG_WARNING = 1;
export const LOG_FAILURE = 2;
/** Instructions in a slice: the first, and the bounds of what it adapts to. */
const BUDGET = 1_000_000;
const BUDGET_MIN = 100_000;
const BUDGET_MAX = 8_000_000;
/** How long a slice should take: input waits no longer than that. */
const SLICE_MS = 8;
/** How long the guest runs without output before hot code is translated all the same, if the host does not say. */
const PATIENCE_MS = 500;
/** setTimeout's longest. */
const TIMEOUT_MAX_MS = 0x7fffffff;

export { AppError };

/** @typedef {import("./error.js").Kind} Kind */

/** Stages of opening that end here; the others (download, compile, first-output) are the page's. @typedef {"instantiate" | "thaw" | "first-instruction"} Stage */

/**
 * What the machine needs of its place.
 * @typedef {object} Host
 * @property {(fd: 1 | 2, bytes: Uint8Array<ArrayBuffer>) => void | Promise<void>} write
 *   output; a promise holds the guest's write back until it resolves
 * @property {(level: number, text: string) => void} [log] a line for the user
 * @property {(offset: number, len: number, again: boolean) => Promise<Uint8Array>} [chunk] bytes of the chunk
 *   store beside the file; `again`: what came before was damaged
 * @property {(engine: Engine) => Promise<import("./translator.js").Translator>} [translator]
 *   asked for once, when there is hot code that nobody foresaw; without it such code is interpreted
 * @property {number} [patienceMs] how long the guest runs without output before it is asked for
 * @property {(functions: number) => void} [translated] so many functions more are in use
 * @property {(stage: Stage) => void} [reached] the end of a stage of opening, once each, for who measures
 */

/** @typedef {{ exports: WebAssembly.Exports, digest: string }} Engine the app's exports, and what its engine is known by */

/**
 * @typedef {object} Manifest the part of the app's manifest that hosts read
 * @property {number} format
 * @property {string} engine version of the friscy-snap that packed it
 * @property {string} engine_digest
 * @property {{ tags: string[] }} image
 * @property {{ argv: string[], hostname: string, tty: boolean }} entry
 * @property {{ layout: "single" | "split", stored_bytes: number }} chunks
 */

/** The manifest. @param {WebAssembly.Module} module @returns {Manifest} */
export function manifest(module) {
  const [section] = WebAssembly.Module.customSections(module, "friscy.manifest");
  const missing = WebAssembly.Module.exports(module).every((entry) => entry.name !== "friscy_resume");
  if (!section || missing) {
    throw new AppError("not-an-app", "This is a WebAssembly file, but not one that friscy-snap made.");
  }
  /** @type {Manifest} */
  let manifest;
  try {
    manifest = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(section));
  } catch (error) {
    throw new AppError("damaged", "The description inside the file is damaged.", error);
  }
  if (typeof manifest?.format !== "number") {
    throw new AppError("damaged", "The description inside the file is damaged.");
  }
  if (manifest.format !== FORMAT) {
    const by = `The file has format ${manifest.format} (friscy-snap ${manifest.engine}); this page reads ${FORMAT}.`;
    throw new AppError("version", `${by} Make both with the same friscy-snap.`);
  }
  if (!manifest.entry || !manifest.image || !manifest.chunks) {
    throw new AppError("damaged", "The description inside the file is incomplete.");
  }
  return manifest;
}

/** Resolves in a later turn of the event loop, after messages and input that wait already. */
const turn = (() => {
  // A message is not held back the way a nested setTimeout is.
  const { port1, port2 } = new MessageChannel();
  /** @type {(() => void)[]} */
  const waiting = [];
  port1.onmessage = () => waiting.shift()?.();
  // Node: an open port must not keep the process alive.
  /** @type {any} */ (port1).unref?.();
  return () =>
    /** @type {Promise<void>} */ (
      new Promise((resolve) => {
        if (typeof globalThis.setImmediate === "function") {
          globalThis.setImmediate(resolve);
        } else {
          waiting.push(resolve);
          port2.postMessage(0);
        }
      })
    );
})();

export class Machine {
  /** @type {Host} */ #host;
  /** @type {Engine} */ #engine;
  /** @type {WebAssembly.Memory} */ #memory;
  /** @type {Ring} */ #ring;
  /** @type {(budget: bigint) => number} */ #resume;
  /** Words of a dying engine. */
  #lastWords = "";
  /** Completions that wait for room in the queue. @type {[bigint, number][]} */
  #completions = [];
  /** Reads that wait for input. @type {import("./ring.js").Submission[]} */
  #reads = [];
  /** Input that waits for a read. @type {Uint8Array[]} */
  #input = [];
  #inputEnded = false;
  /** Output that the host has not taken yet. @type {Set<Promise<void>>} */
  #writes = new Set();
  /** Ends the wait of an idle machine. @type {(() => void) | undefined} */
  #wake;
  /** It is time for translated code; the engine was told if there is a translator. */
  #translates = false;
  /** The app, until then. @type {WebAssembly.Module | undefined} */
  #module;
  /** @type {Promise<import("./translator.js").Translator> | undefined} */
  #translator;
  #budget = BUDGET;
  #stopped = false;

  /**
   * Opens an app. Throws an {@link AppError}.
   * @param {WebAssembly.Module} module
   * @param {Host} host
   */
  static async open(module, host) {
    const { engine_digest } = manifest(module);
    /** @type {WebAssembly.Instance | undefined} */
    let instance;
    /** @type {Machine | undefined} */
    let machine;
    let early = "";
    const memory = () => /** @type {WebAssembly.Memory} */ (instance?.exports.memory);
    const heard = (/** @type {string} */ text) => {
      if (machine) machine.#lastWords += text;
      else early += text;
    };
    try {
      instance = await WebAssembly.instantiate(module, /** @type {any} */ (imports(module, memory, heard)));
      host.reached?.("instantiate");
      machine = new Machine(instance, host, engine_digest);
      machine.#module = module;
      /** @type {() => void} */ (instance.exports.friscy_thaw)();
      host.reached?.("thaw");
    } catch (error) {
      throw explain(error, machine ? machine.#lastWords : early);
    }
    return machine;
  }

  /** @param {WebAssembly.Instance} instance @param {Host} host @param {string} digest of its engine */
  constructor(instance, host, digest) {
    const { memory, friscy_ring, friscy_resume } = /** @type {any} */ (instance.exports);
    this.#host = host;
    this.#engine = { exports: instance.exports, digest };
    this.#memory = memory;
    this.#resume = friscy_resume;
    this.#ring = new Ring(memory, friscy_ring());
    const version = this.#ring.version;
    if (version !== Ring.VERSION) {
      const what = version === undefined ? "has no ring" : `speaks version ${version} of the ring, not ${Ring.VERSION}`;
      throw new AppError("version", `The engine in the file ${what}. Make file and page with the same friscy-snap.`);
    }
  }

  /** Guest instructions since boot. */
  get retired() {
    return this.#ring.retired;
  }

  /** Bytes of linear memory. */
  get memoryBytes() {
    return this.#memory.buffer.byteLength;
  }

  /** Bytes for the guest's standard input. @param {Uint8Array} bytes */
  input(bytes) {
    if (bytes.length === 0 || this.#inputEnded) return;
    this.#input.push(bytes);
    this.#serveReads();
  }

  /** No more input will come. */
  endInput() {
    this.#inputEnded = true;
    this.#serveReads();
  }

  /** The terminal has this size now. @param {number} rows @param {number} cols */
  resize(rows, cols) {
    this.#ring.setSize(rows, cols);
    this.#complete(EVENT_WINSIZE, 0);
  }

  /** Sends a signal to the foreground. @param {number} number */
  signal(number) {
    this.#complete(EVENT_SIGNAL, number);
  }

  /** Ends {@link run} at the next slice; its promise then never resolves. */
  stop() {
    this.#stopped = true;
    this.#wake?.();
  }

  /** Runs to the end. @returns {Promise<number>} the exit code, 128+N for a signal */
  async run() {
    this.#host.reached?.("first-instruction");
    // What was written before the freeze needs no instruction to be written again.
    this.#serve();
    const latest = performance.now() + (this.#host.patienceMs ?? PATIENCE_MS);
    for (;;) {
      if (this.#stopped) await new Promise(() => {});
      this.#flushCompletions();
      const status = this.#slice();
      this.#serve();
      if (!this.#translates && performance.now() > latest) this.#beginToTranslate();
      switch (status) {
        case Status.Exited:
          // The last output must be out before the exit code is.
          await Promise.allSettled(this.#writes);
          return this.#ring.exitCode & 0xff;
        case Status.Runnable:
          await turn();
          break;
        case Status.Idle:
          await this.#idle();
          break;
        default:
          throw new AppError("damaged", "The engine stopped at a freeze point although nobody asked it to.");
      }
    }
  }

  /** One call of the engine, and what its time says of the next budget. */
  #slice() {
    const budget = this.#budget;
    const start = performance.now();
    const before = this.#ring.retired;
    let status;
    try {
      status = this.#resume(BigInt(budget));
    } catch (error) {
      throw explain(error, this.#lastWords);
    }
    const elapsed = performance.now() - start;
    // Only a slice that was used up says how fast instructions are.
    if (Number(this.#ring.retired - before) > budget / 2 && elapsed > 0) {
      const wanted = (budget * SLICE_MS) / elapsed;
      this.#budget = Math.round(Math.min(BUDGET_MAX, Math.max(BUDGET_MIN, (budget + wanted) / 2)));
    }
    return status;
  }

  /** Does what the engine asked for. */
  #serve() {
    for (let entry = this.#ring.take(); entry; entry = this.#ring.take()) {
      const { op, arg, token, addr, len } = entry;
      if (addr < 0 || len < 0 || addr + len > this.#memory.buffer.byteLength) {
        throw new AppError("damaged", "The engine asked for a transfer outside of its memory.");
      }
      switch (op) {
        case Op.ConsoleWrite: {
          const taken = this.#host.write(arg === 2 ? 2 : 1, new Uint8Array(this.#memory.buffer, addr, len).slice());
          if (taken) this.#hold(taken, token, len);
          else this.#complete(token, len);
          this.#beginToTranslate();
          break;
        }
        case Op.ConsoleRead:
          this.#reads.push(entry);
          this.#serveReads();
          break;
        case Op.ChunkFetch:
        case Op.ChunkRefetch:
          this.#fetchChunk(entry);
          break;
        case Op.Translate:
          this.#translate(token, new Uint8Array(this.#memory.buffer, addr, len).slice());
          break;
        case Op.Log: {
          const text = new TextDecoder().decode(new Uint8Array(this.#memory.buffer, addr, len).slice());
          this.#host.log?.(arg, text);
          this.#complete(token, 0);
          break;
        }
        default:
          this.#complete(token, -Errno.ENOSYS);
      }
    }
  }

  /** From now on the engine asks for translations of what is hot. */
  #beginToTranslate() {
    if (this.#translates) return;
    this.#translates = true;
    this.#fuse();
    if (this.#host.translator) this.#complete(EVENT_TRANSLATOR, 1);
  }

  /** Puts second forms of translated functions into the table, if multiplication and addition are fused here. */
  async #fuse() {
    const [fused] = this.#module ? WebAssembly.Module.customSections(this.#module, "friscy.fused") : [];
    this.#module = undefined;
    if (!fused) return;
    const { memory, friscy_table } = this.#engine.exports;
    // Without relaxed SIMD the first forms stay.
    await WebAssembly.instantiate(fused, /** @type {any} */ ({ friscy: { memory, friscy_table } })).catch(() => {});
  }

  /** @param {bigint} token @param {Uint8Array<ArrayBuffer>} profile */
  async #translate(token, profile) {
    let functions = 0;
    try {
      this.#translator ??= /** @type {NonNullable<Host["translator"]>} */ (this.#host.translator)(this.#engine);
      functions = await (await this.#translator).translate(profile);
      if (functions > 0) this.#host.translated?.(functions);
    } catch (error) {
      // The guest goes on as it is.
      this.#host.log?.(LOG_WARNING, `Hot code stays interpreted: ${error instanceof Error ? error.message : error}`);
      this.#complete(EVENT_TRANSLATOR, 0);
    }
    this.#complete(token, functions);
  }

  /** Completes a write once the host has taken it. @param {Promise<void>} taken @param {bigint} token @param {number} len */
  #hold(taken, token, len) {
    this.#writes.add(taken);
    const done = (/** @type {number} */ result) => {
      this.#writes.delete(taken);
      this.#complete(token, result);
    };
    taken.then(
      () => done(len),
      () => done(-Errno.EIO),
    );
  }

  /** @param {import("./ring.js").Submission} entry */
  #fetchChunk({ op, token, addr, len, offset }) {
    if (!this.#host.chunk) {
      this.#complete(token, -Errno.EIO);
      return;
    }
    this.#host.chunk(offset, len, op === Op.ChunkRefetch).then(
      (bytes) => {
        const fits = bytes.length <= len;
        if (fits) new Uint8Array(this.#memory.buffer, addr, len).set(bytes);
        this.#complete(token, fits ? bytes.length : -Errno.EIO);
      },
      (error) => {
        this.#host.log?.(LOG_FAILURE, explain(error).message);
        this.#complete(token, -Errno.EIO);
      },
    );
  }

  /** Gives input to reads, as far as there are both. */
  #serveReads() {
    while (this.#reads.length > 0) {
      const [bytes] = this.#input;
      if (!bytes && !this.#inputEnded) return;
      const { token, addr, len } = /** @type {import("./ring.js").Submission} */ (this.#reads.shift());
      const count = bytes ? Math.min(bytes.length, len) : 0;
      if (bytes) {
        new Uint8Array(this.#memory.buffer, addr, len).set(bytes.subarray(0, count));
        if (count === bytes.length) this.#input.shift();
        else this.#input[0] = bytes.subarray(count);
      }
      this.#complete(token, count);
    }
  }

  /** @param {bigint} token @param {number} result */
  #complete(token, result) {
    this.#completions.push([token, result]);
    this.#wake?.();
  }

  #flushCompletions() {
    while (this.#completions.length > 0 && this.#ring.complete(...this.#completions[0])) this.#completions.shift();
  }

  /** Waits for a completion, an event or the engine's next timer. */
  async #idle() {
    if (this.#completions.length > 0 || this.#ring.answered) return turn();
    const deadline = this.#ring.deadlineNs;
    const never = deadline === 0xffff_ffff_ffff_ffffn;
    const delay = never ? TIMEOUT_MAX_MS : Math.ceil(monotonicMs(deadline) - performance.now());
    if (delay <= 0) return turn();
    await /** @type {Promise<void>} */ (
      new Promise((resolve) => {
        const timer = setTimeout(done, Math.min(delay, TIMEOUT_MAX_MS));
        const machine = this;
        function done() {
          clearTimeout(timer);
          machine.#wake = undefined;
          resolve();
        }
        this.#wake = done;
      })
    );
  }
}

/**
 * What a host's user should read in the place of an engine's error.
 * @param {unknown} error @param {string} lastWords
 */
export function explain(error, lastWords = "") {
  if (error instanceof AppError) return error;
  const text = error instanceof Error ? error.message : String(error);
  if (error instanceof WebAssembly.CompileError) {
    return new AppError("damaged", `The file is not valid WebAssembly: it is damaged or incomplete. (${text})`, error);
  }
  if (error instanceof WebAssembly.LinkError) {
    return new AppError("not-an-app", `The file wants things that this host does not have. (${text})`, error);
  }
  // A memory that cannot be had is a RangeError at instantiation; a grow that fails is told by the engine.
  if (error instanceof RangeError && /memory|allocat/i.test(text)) {
    return new AppError("memory", `There is not enough memory for this machine. (${text})`, error);
  }
  const words = lastWords.trim() || (error instanceof Exit ? `it ended itself with code ${error.code}` : text);
  return new AppError("crash", `The machine broke down: ${words}`, error);
}
