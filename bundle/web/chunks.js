// @ts-check
// The chunk store beside an app (layout `split`), read from a web server when
// the guest wants it. The store is read in blocks: by HTTP Range, or, for
// servers that know no Range, from a directory in which each block is a file.
// What was profiled at pack time comes first in the store and is fetched in one
// stretch. A fetch that fails is tried again, ever more slowly, and the guest
// waits as for a slow disk. That the bytes are right is checked by the engine.

import { AppError } from "./error.js";

/** Bytes in a block, unless the store was cut into files of another size. */
const BLOCK = 128 << 10;
/** Blocks that are kept. */
const KEPT = 128;
/** Blocks that a reader who goes straight on gets at a time, at most. */
const AHEAD = 8;
/** Waits between attempts, in milliseconds; after the last the fetch has failed. */
const WAITS = [250, 500, 1000, 2000, 4000, 4000];

/**
 * @typedef {object} Place where a chunk store is
 * @property {string} url of the file, or of the directory of its blocks
 * @property {number} bytes its length
 * @property {number} [profile] bytes at its start that will be wanted soon
 * @property {number} [block] bytes in each file of the directory; missing: it is one file
 */

/**
 * @typedef {object} Block
 * @property {Promise<Uint8Array>} bytes
 * @property {(bytes: Uint8Array) => void} arrive
 * @property {(error: unknown) => void} fail
 */

export class Chunks {
  /** @type {Map<number, Block>} the least recently fetched first */ #blocks = new Map();
  /** Wanted, and not yet asked for. @type {Set<number>} */ #wanted = new Set();
  /** One past the block that was fetched last, and how many to fetch when the next one is wanted. */
  #next = { block: 0, count: 1 };
  /** Ask the server itself, not a cache. */
  #reload = false;

  /**
   * @param {Place} place
   * @param {(trouble: string | undefined) => void} [tell] what goes wrong for now; undefined when it goes well again
   */
  constructor(place, tell = () => {}) {
    this.place = place;
    this.tell = tell;
    this.block = place.block ?? BLOCK;
    const first = Math.min(KEPT, Math.ceil((place.profile ?? 0) / this.block));
    if (first > 0) this.#fetch(0, first);
  }

  /**
   * Bytes of the store. Rejects with an {@link AppError} when they cannot be had.
   * @param {number} offset @param {number} len @param {boolean} [again] what came before was damaged
   * @returns {Promise<Uint8Array>}
   */
  async read(offset, len, again = false) {
    if (offset + len > this.place.bytes) throw new AppError("damaged", "The file wants more contents than there are.");
    const out = new Uint8Array(len);
    const first = Math.floor(offset / this.block);
    const last = Math.floor((offset + len - 1) / this.block);
    if (again) {
      this.#reload = true;
      for (let at = first; at <= last; at += 1) this.#blocks.delete(at);
    }
    const parts = [];
    for (let at = first; at <= last; at += 1) parts.push(this.#get(at));
    for (const [index, bytes] of (await Promise.all(parts)).entries()) {
      const start = (first + index) * this.block;
      const from = Math.max(offset - start, 0);
      out.set(bytes.subarray(from, Math.min(offset + len - start, this.block)), start + from - offset);
    }
    return out;
  }

  /** @param {number} at @returns {Promise<Uint8Array>} */
  #get(at) {
    const block = this.#blocks.get(at);
    if (block) return block.bytes;
    if (this.#wanted.size === 0) queueMicrotask(() => this.#fetchWanted());
    this.#wanted.add(at);
    return this.#add(at).bytes;
  }

  /** @param {number} at @returns {Block} */
  #add(at) {
    /** @type {Pick<Block, "arrive" | "fail">} */
    let settle = { arrive() {}, fail() {} };
    /** @type {Promise<Uint8Array>} */
    const bytes = new Promise((arrive, fail) => (settle = { arrive, fail }));
    const block = { bytes, ...settle };
    // Nobody may be waiting for what was fetched ahead; a later read tries again.
    bytes.catch(() => this.#blocks.delete(at));
    this.#blocks.set(at, block);
    return block;
  }

  /** Neighbours that are wanted in the same moment are one request. */
  #fetchWanted() {
    const wanted = [...this.#wanted].sort((a, b) => a - b);
    this.#wanted.clear();
    while (wanted.length > 0) {
      const first = /** @type {number} */ (wanted.shift());
      let count = 1;
      while (wanted[0] === first + count) {
        wanted.shift();
        count += 1;
      }
      const straight = first === this.#next.block;
      const ahead = straight ? Math.min(AHEAD, 2 * this.#next.count) : 1;
      const end = Math.ceil(this.place.bytes / this.block);
      while (count < ahead && first + count < end && !this.#blocks.has(first + count)) {
        this.#add(first + count);
        count += 1;
      }
      this.#next = { block: first + count, count };
      this.#fetch(first, count);
    }
    const old = this.#blocks.keys();
    while (this.#blocks.size > KEPT) this.#blocks.delete(/** @type {number} */ (old.next().value));
  }

  /** Fetches blocks that follow each other. @param {number} first @param {number} count */
  #fetch(first, count) {
    /** @type {[number, Block][]} */
    const blocks = [];
    for (let at = first; at < first + count; at += 1) blocks.push([at, this.#blocks.get(at) ?? this.#add(at)]);
    if (this.place.block) for (const block of blocks) void this.#persist([block]);
    else void this.#persist(blocks);
  }

  /** Tries until the last block is there or there is no hope. @param {[number, Block][]} blocks those still missing */
  async #persist(blocks) {
    const cache = this.#reload ? "reload" : "default";
    this.#reload = false;
    for (let attempt = 0; ; ) {
      const before = blocks.length;
      try {
        await this.#attempt(blocks, cache);
        if (attempt > 0) this.tell(undefined);
        return;
      } catch (error) {
        attempt = blocks.length < before ? 0 : attempt;
        if (error instanceof AppError || attempt === WAITS.length) {
          for (const [, block] of blocks) block.fail(this.#lost(error));
          return;
        }
        this.tell(`contents of files do not come (${error instanceof Error ? error.message : error}); trying again`);
        await new Promise((resolve) => setTimeout(resolve, WAITS[attempt]));
        attempt += 1;
      }
    }
  }

  /** @param {unknown} error */
  #lost(error) {
    if (error instanceof AppError) return error;
    const why = error instanceof Error ? error.message : String(error);
    return new AppError("fetch", `Contents of files could not be downloaded: ${why}.`, error);
  }

  /** One request; takes the blocks that it brings off the list. @param {[number, Block][]} blocks @param {RequestCache} cache */
  async #attempt(blocks, cache) {
    const { url, bytes } = this.place;
    const start = blocks[0][0] * this.block;
    const end = Math.min((blocks[blocks.length - 1][0] + 1) * this.block, bytes);
    const one = this.place.block !== undefined;
    const response = await (one
      ? fetch(`${url}/${blocks[0][0]}`, { cache })
      : fetch(url, { cache, headers: { range: `bytes=${start}-${end - 1}` } }));
    if (!one && response.status === 200 && (start > 0 || end < bytes)) {
      void response.body?.cancel();
      throw new AppError(
        "fetch",
        "The server hands out whole files only (it knows no Range requests): make the directory again with " +
          "`friscy-snap bundle --blocks`.",
      );
    }
    if (!response.ok) {
      const status = `the server answered ${response.status}`;
      const passing = response.status >= 500 || response.status === 408 || response.status === 429;
      throw passing ? new Error(status) : new AppError("fetch", `Contents of files are missing: ${status}.`);
    }
    const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
    let block = new Uint8Array(Math.min(this.block, bytes - start));
    let filled = 0;
    while (blocks.length > 0) {
      const { done, value } = await reader.read();
      if (done) throw new Error("the transfer broke off");
      for (let rest = value; rest.length > 0 && blocks.length > 0; ) {
        const part = rest.subarray(0, block.length - filled);
        block.set(part, filled);
        filled += part.length;
        rest = rest.subarray(part.length);
        if (filled < block.length) continue;
        /** @type {[number, Block]} */ (blocks.shift())[1].arrive(block);
        block = new Uint8Array(Math.max(0, Math.min(this.block, bytes - (blocks[0]?.[0] ?? 0) * this.block)));
        filled = 0;
      }
    }
    void reader.cancel().catch(() => {});
  }
}
