// @ts-check
// Translates while the guest runs what nobody foresaw: answers Op.Translate with
// modules that import the engine's memory and table and put their functions into
// slots of it, so that dispatch stays inside Wasm. What is in a module is found
// out in another thread (translate.js), compiled in yet others by V8, and used
// between two slices. Loaded with the first request, never before there is output.

/** Modules that are kept, of 128 KB of code at most; for the next one another goes. */
const MODULES_MAX = 128;
/** Which goes of so many, the oldest first. */
const oldest = () => 0;

/** @typedef {{ slots: number, engine: string }} Able how many slots a module needs, and the digest of the engine that it is for */
/** @typedef {{ profile: Uint8Array<ArrayBuffer>, first: number }} Request code that is hot, and the first of its slots */
/** @typedef {{ module: Uint8Array<ArrayBuffer>, map: Uint8Array<ArrayBuffer>, functions: number }} Batch a module, and where it can be entered */
/**
 * The other thread. First it says what it is {@link Able} to do, then it answers requests, one at a time.
 * @typedef {object} Thread
 * @property {(request: Request, transfer: Transferable[]) => void} postMessage
 * @property {((event: { data: any }) => void) | null} onmessage hears a {@link Batch}, or nothing if nothing is worth it
 * @property {((event: any) => void) | null} onerror hears why there will be no answer
 * @property {() => void} terminate
 */

export class Translator {
  /** @type {any} */ #engine;
  /** @type {Thread} */ #thread;
  /** Slots of a module. */
  #slots = 0;
  /** First slots of the modules in the table, the oldest first. @type {number[]} */
  #live = [];
  /** First slots of stretches with nothing in them. @type {number[]} */
  #free = [];
  #max;
  #victim;

  /**
   * @param {import("./host.js").Engine} engine
   * @param {Thread} thread has just been started
   * @param {number} [max] modules that are kept
   * @param {(live: number) => number} [victim] which of so many goes, the oldest first; the oldest, but for tests
   */
  static async start(engine, thread, max = MODULES_MAX, victim = oldest) {
    const translator = new Translator(engine.exports, thread, max, victim);
    /** @type {Able} */
    const able = await translator.#answer();
    // Engine and translated code call each other in ways that change from version to version.
    if (able.engine !== engine.digest) {
      thread.terminate();
      throw new Error("the file was packed by another friscy-snap than the one that this host comes from");
    }
    translator.#slots = able.slots;
    return translator;
  }

  /** @param {WebAssembly.Exports} engine @param {Thread} thread @param {number} max @param {(live: number) => number} victim */
  constructor(engine, thread, max, victim) {
    this.#engine = engine;
    this.#thread = thread;
    this.#max = max;
    this.#victim = victim;
  }

  /** Answers a request. @param {Uint8Array<ArrayBuffer>} profile @returns {Promise<number>} functions that were added */
  async translate(profile) {
    const first = this.#room();
    this.#thread.postMessage({ profile, first }, [profile.buffer]);
    /** @type {Batch | undefined} */
    const batch = await this.#answer();
    if (!batch) {
      this.#free.push(first);
      return 0;
    }
    const { memory, friscy_table } = this.#engine;
    await WebAssembly.instantiate(batch.module, { friscy: { memory, friscy_table } });
    this.#live.push(first);
    this.#tell(batch.map);
    return batch.functions;
  }

  /** The code of one module goes, and is interpreted again; nothing if there is none. Between two slices only. */
  evict() {
    const { friscy_table, friscy_remove_translations } = this.#engine;
    const [first] = this.#live.splice(this.#victim(this.#live.length), 1);
    if (first === undefined) return;
    friscy_remove_translations(first, this.#slots);
    for (let slot = first; slot < first + this.#slots; slot += 1) friscy_table.set(slot, null);
    this.#free.push(first);
  }

  /** What the thread says next. @returns {Promise<any>} */
  #answer() {
    const thread = this.#thread;
    return new Promise((resolve, reject) => {
      thread.onmessage = ({ data }) => resolve(data);
      thread.onerror = (event) => {
        event.preventDefault?.();
        thread.terminate();
        reject(event);
      };
    });
  }

  /** Empty slots for a module; the first. */
  #room() {
    if (this.#live.length >= this.#max) this.evict();
    return this.#free.pop() ?? this.#engine.friscy_table.grow(this.#slots);
  }

  /** Where new functions can be entered. @param {Uint8Array} map */
  #tell(map) {
    const { memory, friscy_alloc, friscy_free, friscy_add_translations } = this.#engine;
    const at = friscy_alloc(map.length) >>> 0;
    if (at === 0) return;
    new Uint8Array(memory.buffer, at, map.length).set(map);
    friscy_add_translations(at, map.length);
    friscy_free(at, map.length);
  }
}
