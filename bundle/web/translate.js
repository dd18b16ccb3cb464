// @ts-check
// The other thread of translator.js, in the page (translator-worker.js) and in
// Node: guest code in, modules out. The work is ../translator's, which is Rust,
// the same as the packer's and the native host's.

import init, { probe, slots, translate } from "friscy-translator";

/** Whether this engine multiplies and adds in one instruction. */
let fuses = false;

/**
 * The first message.
 * @param {WebAssembly.Module | BufferSource} wasm the translator
 * @returns {Promise<import("./translator.js").Able>}
 */
export async function begin(wasm) {
  await init({ module_or_path: wasm });
  try {
    const { instance } = await WebAssembly.instantiate(probe());
    fuses = /** @type {() => number} */ (instance.exports.fuses)() === 1;
  } catch {
    // It has no relaxed SIMD.
  }
  return { slots: slots(), engine: FRISCY_ENGINE };
}

/**
 * The answer to a request, and what of it changes hands.
 * @param {import("./translator.js").Request} request
 * @returns {{ batch: import("./translator.js").Batch | undefined, transfer: ArrayBuffer[] }}
 */
export function answer({ profile, first }) {
  const made = translate(profile, first, fuses);
  if (!made) return { batch: undefined, transfer: [] };
  const batch = { module: made.module, map: made.map, functions: made.functions };
  made.free();
  return { batch, transfer: [batch.module.buffer, batch.map.buffer] };
}
