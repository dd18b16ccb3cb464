// @ts-check
// Makes the page of what is in web/ and of the terminal from npm: few files,
// small, under names that change with their contents, so that they can be
// cached for ever. The page itself holds its style and what starts the machine.
//
// With the directory in which wasm-bindgen put the translator there is one, in two
// files; without, all that is not translated yet is interpreted. Node's host becomes
// one file, which looks for the translator's Wasm beside itself, when it is named.
//
//     node build.mjs OUT [NODE_MODULES [TRANSLATOR [FRISCY-NODE.mjs]]]

import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const [out, modules = join(here, "node_modules"), translator, nodeHost] = process.argv.slice(2);
/** @type {typeof import("esbuild")} */
const esbuild = createRequire(join(resolve(modules), "x.js"))("esbuild");

/** @param {string} entry @param {import("esbuild").BuildOptions} options @returns {Promise<string>} */
async function bundle(entry, options) {
  const { outputFiles } = await esbuild.build({
    entryPoints: [join(here, entry)],
    nodePaths: [resolve(modules)],
    bundle: true,
    minify: true,
    write: false,
    charset: "utf8",
    legalComments: "none",
    target: ["chrome119", "firefox121", "safari17.4"],
    ...options,
  });
  return /** @type {import("esbuild").OutputFile[]} */ (outputFiles)[0].text.trimEnd();
}

/** Writes a file under a name with its digest; the name. @param {string} name @param {string | Buffer} contents */
function put(name, contents) {
  const digest = createHash("sha256").update(contents).digest("hex").slice(0, 16);
  const [stem, extension] = name.split(".");
  const full = `${stem}.${digest}.${extension}`;
  writeFileSync(join(out, full), contents);
  return full;
}

/** @param {string} text @param {string} from @param {string} to */
function replace(text, from, to) {
  const [before, after, ...more] = text.split(from);
  if (after === undefined || more.length > 0) throw new Error(`not exactly one ${from}`);
  return before + to + after;
}

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
// Plain scripts; as such esbuild would make import() a require().
const script = /** @type {const} */ ({ format: "esm", banner: { js: '"use strict";(()=>{' }, footer: { js: "})();" } });
let worker = await bundle("web/worker.js", { ...script, external: ["./translator.js"] });
/** Where the translator's JavaScript is, and for which engine. @type {import("esbuild").BuildOptions} */
let translate = { external: ["friscy-translator"] };
let wasm = "translator.wasm";
if (translator) {
  const engine = readFileSync(join(translator, "engine"), "utf8");
  translate = {
    alias: { "friscy-translator": resolve(translator, "translator.js") },
    define: { FRISCY_ENGINE: JSON.stringify(engine) },
  };
  wasm = put("translator.wasm", readFileSync(join(translator, "translator_bg.wasm")));
  const thread = await bundle("web/translator-worker.js", { ...script, ...translate });
  const beside = put("translator-worker.js", replace(thread, '"translator.wasm"', JSON.stringify(wasm)));
  const here = put("translator.js", await bundle("web/translator.js", { format: "esm" }));
  worker = replace(worker, '"./translator.js"', JSON.stringify(`./${here}`));
  worker = replace(worker, '"translator-worker.js"', JSON.stringify(beside));
}
worker = put("worker.js", worker);
// The terminal brings its own style: nothing of it is needed before.
const main = put("main.js", await bundle("web/main.js", { format: "esm", loader: { ".css": "text" } }));
let boot = await bundle("web/boot.js", { format: "esm", external: ["./main.js"] });
boot = replace(boot, '"worker.js"', JSON.stringify(worker));
boot = replace(boot, '"./main.js"', JSON.stringify(`./${main}`));
let page = readFileSync(join(here, "web/index.html"), "utf8");
page = replace(page, "<style></style>", `<style>${await bundle("web/style.css", {})}</style>`);
page = replace(page, '<script type="module" src="boot.js"></script>', `<script type="module">${boot}</script>`);
writeFileSync(join(out, "index.html"), page);
copyFileSync(join(here, "web/icon.svg"), join(out, "icon.svg"));
copyFileSync(join(modules, "@xterm/xterm/LICENSE"), join(out, "LICENSE-xterm.txt"));
if (nodeHost) {
  const options = /** @type {const} */ ({ format: "esm", platform: "node", target: "node20", minify: false });
  const host = await bundle("node/friscy-node.mjs", { ...options, ...translate });
  writeFileSync(nodeHost, replace(host, '"translator.wasm"', JSON.stringify(wasm)));
}
