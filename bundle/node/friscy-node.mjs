#!/usr/bin/env node
// @ts-check
// Runs an app in Node: `node friscy-node.mjs APP.wasm`. Standard input, output
// and error are the guest's; its exit code is this process's. A terminal is put
// into raw mode, so that the guest's own terminal does the editing.

import { open, readFile } from "node:fs/promises";

import { isTranslator, serve, start } from "./translator-thread.mjs";
import { AppError, explain, LOG_WARNING, Machine, manifest } from "../web/host.js";

const SIGNALS = /** @type {const} */ ({ SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGTERM: 15 });

/** A line in the timeline, by the page's names: docs/FORMATS.md, "Marks of the page". @param {string} stage */
const mark = (stage) => performance.mark(`friscy:${stage}`);

/** The chunk store beside the app (layout `split`). @param {string} path @param {number} expected its length */
async function beside(path, expected) {
  const name = path.replace(/\.[^./]*$/, "") + ".chunks";
  const file = await open(name).catch((error) => {
    const what = `The contents of its files belong beside it, in ${name} (${error.code}); keep the two together.`;
    throw new AppError("fetch", what, error);
  });
  const { size } = await file.stat();
  if (size !== expected) {
    throw new AppError("damaged", `${name} has ${size} bytes where there should be ${expected}: copy both files again.`);
  }
  return async (/** @type {number} */ offset, /** @type {number} */ len) => {
    const { buffer, bytesRead } = await file.read(new Uint8Array(len), 0, len, offset);
    if (bytesRead < len) throw new AppError("damaged", `${name} ends too early: copy both files again.`);
    return buffer;
  };
}

/** @param {string} path */
async function run(path) {
  const { stdin, stdout, stderr } = process;
  let heard = false;
  const bytes = await readFile(path);
  mark("download");
  if (bytes.readUInt32LE(0) !== 0x6d736100) throw new AppError("not-an-app", "This is not a WebAssembly file.");
  const module = await WebAssembly.compile(bytes);
  mark("compile");
  const { entry: { tty }, chunks } = manifest(module);
  const machine = await Machine.open(module, {
    write: (fd, bytes) =>
      new Promise((resolve, reject) => {
        (fd === 2 ? stderr : stdout).write(bytes, (error) => (error ? reject(error) : resolve()));
        if (!heard) mark("first-output");
        heard = true;
      }),
    reached: mark,
    log: (level, text) => {
      if (level !== LOG_WARNING || process.env.FRISCY_VERBOSE) stderr.write(`${text}\n`);
    },
    translator: async (engine) => {
      const { Translator } = await import("../web/translator.js");
      return Translator.start(engine, start(new URL(import.meta.url)));
    },
    translated: (functions) => performance.mark("friscy:translated", { detail: functions }),
    chunk: chunks.layout === "split" ? await beside(path, chunks.stored_bytes) : undefined,
  });
  // Who reads our output may go away: the guest's write fails, as it should.
  stdout.on("error", () => {});
  stderr.on("error", () => {});
  for (const [name, number] of Object.entries(SIGNALS)) process.on(name, () => machine.signal(number));
  const raw = tty && stdin.isTTY;
  if (raw) stdin.setRawMode(true);
  const resize = () => machine.resize(stdout.rows ?? 0, stdout.columns ?? 0);
  if (tty && stdout.isTTY) {
    stdout.on("resize", resize);
    resize();
  }
  stdin.on("data", (bytes) => machine.input(bytes));
  stdin.on("end", () => machine.endInput());
  stdin.on("error", () => machine.endInput());
  try {
    return await machine.run();
  } finally {
    if (raw) stdin.setRawMode(false);
  }
}

async function main() {
  const [path, ...rest] = process.argv.slice(2);
  if (!path || rest.length > 0) {
    console.error("usage: node friscy-node.mjs APP.wasm");
    process.exit(2);
  }
  try {
    process.exit(await run(path));
  } catch (error) {
    const known = error instanceof Error && "code" in error ? error.message : explain(error).message;
    console.error(`${path}: ${known}`);
    process.exit(1);
  }
}

await (isTranslator ? serve(new URL("translator.wasm", import.meta.url)) : main());
