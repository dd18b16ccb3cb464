// @ts-check
// The real command and the real app: what `friscy-snap` packs of the demo, laid
// out by `friscy-snap bundle`.

import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

import { work } from "./fake.mjs";

const repository = fileURLToPath(new URL("../../", import.meta.url));
const target = process.env.CARGO_TARGET_DIR ?? `${repository}target`;

/** The command under test (`FRISCY_SNAP`, default the release build). */
export const command = process.env.FRISCY_SNAP ?? `${target}/release/friscy-snap`;

/** Why tests of the real app cannot run; false when they can. */
export const missing = existsSync(command) ? false : `${command} is missing: cargo build --release`;

/** The newest file that the build made under this name. @param {string} name */
function built(name) {
  const builds = `${target}/release/build`;
  const files = readdirSync(builds).map((build) => `${builds}/${build}/out/${name}`).filter((path) => existsSync(path));
  const [file] = files.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  if (!file) throw new Error(`no ${name} below ${builds}: cargo build --release`);
  return file;
}

/**
 * Runs a program to its end, once more if it has not come to it in three minutes: newer Nodes may wait for a thread of
 * their own for ever when they exit (https://github.com/nodejs/node/issues/54918).
 * @param {string} program @param {string[]} args @param {{ input: string, env?: NodeJS.ProcessEnv }} options
 */
export function runToEnd(program, args, options) {
  const limits = /** @type {const} */ ({ maxBuffer: 1 << 24, timeout: 180_000, killSignal: "SIGKILL" });
  const once = () => spawnSync(program, args, { ...options, ...limits, encoding: "utf8" });
  const first = once();
  return first.error ? once() : first;
}

const demoImage = () => built("demo.tar");

/** What wasm-bindgen made of ../translator, loaded. */
export async function translator() {
  mkdirSync(work, { recursive: true });
  // Outside of a package Node knows a module by its name only.
  const path = `${work}translator.mjs`;
  copyFileSync(built("translator/translator.js"), path);
  const made = await import(pathToFileURL(path).href);
  await made.default({ module_or_path: readFileSync(built("translator/translator_bg.wasm")) });
  return made;
}

/** @type {string | undefined} */
let packed;

/** Path of the app under test: `APP`, or the demo on a terminal. */
export function app() {
  if (process.env.APP) return process.env.APP;
  if (!packed) {
    mkdirSync(work, { recursive: true });
    packed = `${work}demo.wasm`;
    execFileSync(command, [demoImage(), "-t", "--hostname=friscy", "-q", "-o", packed]);
  }
  return packed;
}

/** Packs the demo to `path`. @param {string} path @param {string[]} options */
export function pack(path, options) {
  mkdirSync(work, { recursive: true });
  execFileSync(command, [demoImage(), ...options, "--hostname=friscy", "-q", "-o", path]);
}

/** The demo without a terminal. */
export function pipedApp() {
  const path = `${work}demo-piped.wasm`;
  execFileSync(command, [demoImage(), "--tty=false", "--hostname=friscy", "-q", "-o", path]);
  return path;
}

/** The demo without a terminal, frozen after some output on both streams. */
export function frozenApp() {
  const path = `${work}demo-frozen.wasm`;
  const script = "echo begun >&2; seq 20000; echo ready; cat; exit 8";
  const point = ["--until", "output:^ready$", "--tty=false", "-q"];
  execFileSync(command, [demoImage(), ...point, "-o", path, "--", "-c", script]);
  return path;
}

/** The page and an app in `directory`. @param {string} directory @param {string} [file] another app than that under test */
export function bundle(directory, file = app()) {
  execFileSync(command, ["bundle", file, "-o", directory, "-q"]);
}
