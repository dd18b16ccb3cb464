// @ts-check
// The ring's layout, field by field as formats/src/ring.rs has it, and plain
// reads and writes of it. What the entries mean is host.js's matter.

/** `"FRSC"`, little-endian. */
const MAGIC = 0x43535246;
const VERSION = 2;
const ENTRIES = 64;

/** What `friscy_resume` returns. */
export const Status = Object.freeze({ Runnable: 0, Idle: 1, Exited: 2, Frozen: 3 });

/** What a submission asks for. */
export const Op = Object.freeze({ ConsoleWrite: 1, ConsoleRead: 2, ChunkFetch: 3, Log: 4, ChunkRefetch: 5, Translate: 6 });

/** Tokens of events. */
export const EVENT_WINSIZE = 1n << 63n;
export const EVENT_SIGNAL = (1n << 63n) | 1n;
export const EVENT_TRANSLATOR = (1n << 63n) | 2n;

/** Error numbers that a host answers with. */
export const Errno = Object.freeze({ EIO: 5, ENOSYS: 38 });

// Byte offsets in the header.
const AT = Object.freeze({
  magic: 0,
  version: 4,
  sqHead: 8,
  sqTail: 12,
  cqHead: 16,
  cqTail: 20,
  sq: 24,
  cq: 28,
  status: 32,
  exitCode: 36,
  deadlineNs: 40,
  retired: 48,
  rows: 56,
  cols: 60,
});
const SUBMISSION_BYTES = 40;
const COMPLETION_BYTES = 16;

/**
 * @typedef {object} Submission
 * @property {number} op
 * @property {number} arg
 * @property {bigint} token
 * @property {number} addr linear-memory address of the buffer
 * @property {number} len its bytes
 * @property {number} offset of a chunk: where it begins in the chunk store
 */

export class Ring {
  /** @type {WebAssembly.Memory} */ #memory;
  /** @type {number} */ #at;
  /** @type {DataView} */ #cached;

  /**
   * @param {WebAssembly.Memory} memory
   * @param {number} address what `friscy_ring()` returned
   */
  constructor(memory, address) {
    this.#memory = memory;
    this.#at = address >>> 0;
    this.#cached = new DataView(memory.buffer);
  }

  /** The view again, since growing the memory detaches the old one. */
  get #view() {
    if (this.#cached.buffer !== this.#memory.buffer) this.#cached = new DataView(this.#memory.buffer);
    return this.#cached;
  }

  /** @param {number} field */
  #u32(field) {
    return this.#view.getUint32(this.#at + field, true);
  }

  /** @param {number} field @param {number} value */
  #set(field, value) {
    this.#view.setUint32(this.#at + field, value, true);
  }

  /** The engine's version of the ring; undefined when this is no ring. */
  get version() {
    return this.#u32(AT.magic) === MAGIC ? this.#u32(AT.version) : undefined;
  }

  /** The version that this file speaks. */
  static get VERSION() {
    return VERSION;
  }

  /** As the last `friscy_resume` returned it. */
  get status() {
    return this.#u32(AT.status);
  }

  get exitCode() {
    return this.#u32(AT.exitCode);
  }

  /** Monotonic time of the next timer in ns; all ones for none. */
  get deadlineNs() {
    return this.#view.getBigUint64(this.#at + AT.deadlineNs, true);
  }

  /** Guest instructions since boot. */
  get retired() {
    return this.#view.getBigUint64(this.#at + AT.retired, true);
  }

  /** @param {number} rows @param {number} cols */
  setSize(rows, cols) {
    this.#set(AT.rows, rows);
    this.#set(AT.cols, cols);
  }

  /** Takes the next submission. @returns {Submission | undefined} */
  take() {
    const head = this.#u32(AT.sqHead);
    if (head === this.#u32(AT.sqTail)) return undefined;
    const at = this.#u32(AT.sq) + (head % ENTRIES) * SUBMISSION_BYTES;
    const view = this.#view;
    const entry = {
      op: view.getUint32(at, true),
      arg: view.getUint32(at + 4, true),
      token: view.getBigUint64(at + 8, true),
      addr: Number(view.getBigUint64(at + 16, true)),
      len: Number(view.getBigUint64(at + 24, true)),
      offset: Number(view.getBigUint64(at + 32, true)),
    };
    this.#set(AT.sqHead, (head + 1) >>> 0);
    return entry;
  }

  /** Puts a completion; false when the queue is full. @param {bigint} token @param {number} result */
  complete(token, result) {
    const tail = this.#u32(AT.cqTail);
    if (((tail - this.#u32(AT.cqHead)) >>> 0) >= ENTRIES) return false;
    const at = this.#u32(AT.cq) + (tail % ENTRIES) * COMPLETION_BYTES;
    this.#view.setBigUint64(at, token, true);
    this.#view.setBigInt64(at + 8, BigInt(result), true);
    this.#set(AT.cqTail, (tail + 1) >>> 0);
    return true;
  }

  /** Completions that the engine has not taken yet. */
  get answered() {
    return this.#u32(AT.cqHead) !== this.#u32(AT.cqTail);
  }
}
