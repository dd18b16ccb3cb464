// @ts-check
// The few lines of WASI preview 1 that an app imports. Clock and entropy are
// real; the rest belongs to `_start`, which these hosts do not call, and to
// last words: what a panicking engine writes to descriptor 2.

const SUCCESS = 0;
const ENOSYS = 52;
const CLOCK_REALTIME = 0;
/** getRandomValues takes no more at a time. */
const RANDOM_MAX = 65536;

/** Thrown by proc_exit. */
export class Exit extends Error {
  /** @param {number} code */
  constructor(code) {
    super(`exit ${code}`);
    this.code = code;
  }
}

/** Nanoseconds on the clock that the guest sees as CLOCK_MONOTONIC. */
export function monotonicNs() {
  return BigInt(Math.round(performance.now() * 1e6));
}

/** Milliseconds of `performance.now()` at this monotonic time. @param {bigint} ns */
export function monotonicMs(ns) {
  return Number(ns) / 1e6;
}

function realtimeNs() {
  return BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n;
}

/**
 * Imports for `module`; functions that these hosts lack answer ENOSYS.
 * @param {WebAssembly.Module} module
 * @param {() => WebAssembly.Memory} memory asked only once the instance exists
 * @param {(text: string) => void} lastWords
 * @returns {Record<string, Record<string, Function>>}
 */
export function imports(module, memory, lastWords) {
  const view = () => new DataView(memory().buffer);
  const decoder = new TextDecoder();
  /** @type {Record<string, Function>} */
  const known = {
    /** @param {number} clock @param {bigint} _precision @param {number} at */
    clock_time_get(clock, _precision, at) {
      view().setBigUint64(at >>> 0, clock === CLOCK_REALTIME ? realtimeNs() : monotonicNs(), true);
      return SUCCESS;
    },
    /** @param {number} at @param {number} len */
    random_get(at, len) {
      for (let done = 0; done < len; done += RANDOM_MAX) {
        const count = Math.min(RANDOM_MAX, len - done);
        crypto.getRandomValues(new Uint8Array(/** @type {ArrayBuffer} */ (memory().buffer), (at >>> 0) + done, count));
      }
      return SUCCESS;
    },
    /** @param {number} _fd @param {number} vectors @param {number} count @param {number} written */
    fd_write(_fd, vectors, count, written) {
      const data = view();
      let total = 0;
      for (let at = vectors >>> 0; count > 0; at += 8, count -= 1) {
        const len = data.getUint32(at + 4, true);
        lastWords(decoder.decode(new Uint8Array(data.buffer, data.getUint32(at, true), len)));
        total += len;
      }
      data.setUint32(written >>> 0, total, true);
      return SUCCESS;
    },
    /** @param {number} code */
    proc_exit(code) {
      throw new Exit(code);
    },
  };
  /** @type {Record<string, Function>} */
  const wasi = {};
  for (const entry of WebAssembly.Module.imports(module)) {
    if (entry.kind === "function") wasi[entry.name] = known[entry.name] ?? (() => ENOSYS);
  }
  return { wasi_snapshot_preview1: wasi };
}
