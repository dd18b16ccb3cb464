// @ts-check
// Runs an app with code that comes and goes: node mixed.mjs APP.wasm SEED
//
// The page's translator answers from the first slice on, in this thread. There is room for one to four modules, a random
// one goes for the next, and now and then one goes between two slices. Standard output is the guest's; the last line of
// standard error says what came and went. With a SEED of 0 nothing goes.

import { readFileSync, writeSync } from "node:fs";

import { Machine } from "../web/host.js";
import { Translator } from "../web/translator.js";
import { translator } from "./snap.mjs";

const [path, seed] = process.argv.slice(2);
let state = Number(seed) >>> 0;

/** A random number below `bound`. @param {number} bound */
function random(bound) {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * bound);
}

const evicting = state !== 0;
const { probe, slots, translate } = await translator();
const probed = WebAssembly.instantiate(probe()).then(({ instance }) => /** @type {any} */ (instance.exports).fuses() === 1);
const fuses = await probed.catch(() => false);
/** @type {import("../web/translator.js").Thread} */
const thread = {
  onmessage: null,
  onerror: null,
  postMessage({ profile, first }) {
    setImmediate(() => thread.onmessage?.({ data: translate(profile, first, fuses) }));
  },
  terminate() {},
};
/** @type {Translator | undefined} */
let living;
let [functions, evicted] = [0, 0];
const victim = (/** @type {number} */ live) => {
  evicted += live > 0 ? 1 : 0;
  return random(live);
};
const machine = await Machine.open(await WebAssembly.compile(readFileSync(path)), {
  write: (fd, bytes) => void writeSync(fd, bytes),
  async translator(engine) {
    setImmediate(() => thread.onmessage?.({ data: { slots: slots(), engine: engine.digest } }));
    living = await (evicting ? Translator.start(engine, thread, 1 + random(4), victim) : Translator.start(engine, thread));
    return living;
  },
  patienceMs: 0,
  translated: (count) => void (functions += count),
});
machine.endInput();
// Slices and this take turns.
const loop = () => {
  if (evicting && random(40) === 0) living?.evict();
  setImmediate(loop).unref();
};
loop();
const code = await machine.run();
console.error(`translated ${functions}, evicted ${evicted}`);
process.exit(code);
