// @ts-check
// The real command and the real app: what `friscy-snap` packs of the demo, laid
// out by `friscy-snap bundle`.

import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, statSync } from "node:fs";
import { fileURLToPath } from "node:url";

import { work } from "./fake.mjs";

const repository = fileURLToPath(new URL("../../", import.meta.url));
const target = process.env.CARGO_TARGET_DIR ?? `${repository}target`;

/** The command under test (`FRISCY_SNAP`, default the release build). */
export const command = process.env.FRISCY_SNAP ?? `${target}/release/friscy-snap`;

/** Why tests of the real app cannot run; false when they can. */
export const missing = existsSync(command) ? false : `${command} is missing: cargo build --release`;

/** The newest demo image that the build made. */
function demoImage() {
  const builds = `${target}/release/build`;
  const images = readdirSync(builds).map((name) => `${builds}/${name}/out/demo.tar`).filter((path) => existsSync(path));
  const [image] = images.sort((a, b) => statSync(b).mtimeMs - statSync(a).mtimeMs);
  if (!image) throw new Error(`no demo.tar below ${builds}: cargo build --release`);
  return image;
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
