// @ts-check
// The Node host as a command, with the fake engine.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

import { app, work } from "./fake.mjs";

const host = fileURLToPath(new URL("../node/friscy-node.mjs", import.meta.url));

/** @param {Uint8Array} bytes @param {string} input */
function run(bytes, input) {
  const path = `${work}node.wasm`;
  writeFileSync(path, bytes);
  return spawnSync(process.execPath, [host, path], { input, encoding: "utf8" });
}

test("input, output and exit code pass through", () => {
  const { status, stdout, stderr } = run(app(), "hello\nflood 300\nexit 7\n");
  assert.equal(stderr, "");
  assert.equal(status, 7);
  assert.match(stdout, /you said hello/);
  assert.equal(stdout.match(/x/g)?.length, 300 * 1022);
  assert.match(stdout, /bye\n$/);
});

test("a file that cannot run is named with its fault, in one line", () => {
  for (const [bytes, fault] of /** @type {[Uint8Array, RegExp][]} */ ([
    [Buffer.from("not wasm"), /not a WebAssembly file/],
    [app().subarray(0, 500), /damaged or incomplete/],
    [app({ format: 9 }), /format 9/],
  ])) {
    const { status, stdout, stderr } = run(bytes, "");
    assert.equal(status, 1);
    assert.equal(stdout, "");
    assert.match(stderr, /^\S+node\.wasm: [^\n]+\n$/);
    assert.match(stderr, fault);
  }
});
