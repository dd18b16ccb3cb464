// @ts-check
// Builds fake-engine.rs, once a run, and gives it a manifest as an app has one.

import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = fileURLToPath(new URL(".", import.meta.url));
/** Where tests put what they make. */
export const work = fileURLToPath(new URL("../../target/bundle-test/", import.meta.url));

/** @param {number} value @returns {number[]} LEB128 */
function leb(value) {
  return value < 128 ? [value] : [(value & 127) | 128, ...leb(value >>> 7)];
}

/** @param {string} name @param {Uint8Array} bytes a custom section */
export function section(name, bytes) {
  const label = new TextEncoder().encode(name);
  const body = Buffer.concat([Uint8Array.from([...leb(label.length), ...label]), bytes]);
  return Buffer.concat([Uint8Array.from([0, ...leb(body.length)]), body]);
}

/** @type {Uint8Array | undefined} */
let engine;

/**
 * The fake app's bytes.
 * @param {object} [changes] of its manifest
 */
export function app(changes = {}) {
  if (!engine) {
    mkdirSync(work, { recursive: true });
    const out = `${work}fake-engine.wasm`;
    const flags = ["--edition", "2024", "--target", "wasm32-unknown-unknown", "--crate-type", "cdylib", "-O"];
    execFileSync("rustc", [...flags, "-C", "panic=abort", "-C", "strip=symbols", "-o", out, `${here}fake-engine.rs`]);
    engine = readFileSync(out);
  }
  const manifest = {
    format: 3,
    engine: "0.0.0",
    image: { tags: ["fake:latest"] },
    entry: { argv: ["/bin/fake"], hostname: "fake", tty: true },
    chunks: { layout: "single", stored_bytes: 0 },
    ...changes,
  };
  const json = new TextEncoder().encode(JSON.stringify(manifest));
  return Buffer.concat([engine, section("friscy.manifest", json)]);
}
