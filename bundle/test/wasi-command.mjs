// @ts-check
// Runs an app as a WASI command: `node wasi-command.mjs APP.wasm [ARG...]`. The
// environment variable GUEST is passed on.

import { readFile } from "node:fs/promises";
import { WASI } from "node:wasi";

const [path, ...args] = process.argv.slice(2);
const wasi = new WASI({
  version: "preview1",
  args: ["app", ...args],
  env: process.env.GUEST ? { GUEST: process.env.GUEST } : {},
  returnOnExit: true,
});
const module = await WebAssembly.compile(await readFile(path));
const instance = await WebAssembly.instantiate(module, /** @type {any} */ (wasi.getImportObject()));
process.exitCode = wasi.start(instance);
