// @ts-check
// Code that nobody foresaw, translated while it runs: in Chromium and in Node,
// counted and not timed. Native hosts are tests/tests/translated.rs's.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

import { Machine } from "../web/host.js";
import { Translator } from "../web/translator.js";
import { launch, shows } from "./browser.mjs";
import { work } from "./fake.mjs";
import { serve } from "./site.mjs";
import { bundle, missing, pack, runToEnd, translator } from "./snap.mjs";

const marks = pathToFileURL(fileURLToPath(new URL("marks.mjs", import.meta.url))).href;
const piped = `${work}unforeseen-piped.wasm`;
/** Several hot loops, one after the other, and the first again: seconds, interpreted, where the translator takes a tenth of one. */
const script = `echo begin; bench 4000 2>/dev/null; mandel 300 60 | tail -n 1; seq 60000 | sort | tail -n 1; bench 5000 2>/dev/null
`;
/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Awaited<ReturnType<typeof serve>>} */
let site;
/** What the script prints, interpreted. */
let printed = "";

/** @param {string} node @param {string} host @param {string} input */
function run(node, host, input) {
  const { stdout, stderr, status } = runToEnd(node, ["--import", marks, host, piped], { input });
  const translated = Number(stderr.match(/^translated (\d+)$/m)?.[1]);
  assert.equal(status, 0, stderr);
  return { printed: stdout, translated };
}

before(async () => {
  if (missing) return;
  for (const [path, tty] of [[piped, "-t=false"], [`${work}unforeseen.wasm`, "-t"]]) pack(path, ["--aot", "off", tty]);
  bundle(`${work}unforeseen`, `${work}unforeseen.wasm`);
  // The host as it is in the repository has no translator beside it.
  const interpreted = run(process.execPath, fileURLToPath(new URL("../node/friscy-node.mjs", import.meta.url)), script);
  assert.equal(interpreted.translated, 0);
  printed = interpreted.printed;
  assert.match(printed, /checksum[^]*checksum/);
  site = await serve(`${work}unforeseen`);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  site?.close();
});

for (const [name, node] of Object.entries({ Node: process.execPath, "a newer Node": process.env.NEWER_NODE })) {
  test(`in ${name}`, { skip: missing || (!node && "not installed") }, () => {
    const outcome = run(String(node), `${work}unforeseen/friscy-node.mjs`, script);
    assert.equal(outcome.printed, printed);
    assert.ok(outcome.translated > 0);
  });
}

test("in Node, of a program that says nothing meanwhile", { skip: missing }, () => {
  const outcome = run(process.execPath, `${work}unforeseen/friscy-node.mjs`, "bench 40000 2>/dev/null\n");
  assert.match(outcome.printed, /^iterations 40000\nchecksum   [0-9a-f]{4}\n$/);
  assert.ok(outcome.translated > 0);
});

/**
 * Runs the script in this process, so many times, with room for one module.
 * @param {number} times
 * @param {string} [engine] the digest of the engine that the translator is for, if not that of the app
 */
async function crowded(times, engine) {
  const { slots, translate } = await translator();
  const module = await WebAssembly.compile(readFileSync(piped));
  const firsts = new Set();
  /** @type {string[]} */
  const log = [];
  let [text, modules] = ["", 0];
  /** @type {import("../web/translator.js").Thread} */
  const thread = {
    onmessage: null,
    onerror: null,
    postMessage({ profile, first }) {
      firsts.add(first);
      setImmediate(() => thread.onmessage?.({ data: translate(profile, first, false) }));
    },
    terminate() {},
  };
  const machine = await Machine.open(module, {
    write: (_fd, bytes) => void (text += new TextDecoder().decode(bytes)),
    log: (_level, line) => void log.push(line),
    translator(its) {
      setImmediate(() => thread.onmessage?.({ data: { slots: slots(), engine: engine ?? its.digest } }));
      return Translator.start(its, thread, 1);
    },
    translated: () => void (modules += 1),
  });
  machine.input(new TextEncoder().encode(script.repeat(times)));
  machine.endInput();
  assert.equal(await machine.run(), 0);
  assert.equal(text, printed.repeat(times));
  return { modules, stretches: firsts.size, log };
}

test("the oldest module goes when there is room for one, and its code is interpreted again", { skip: missing }, async () => {
  const { modules, stretches } = await crowded(2);
  assert.ok(modules > 1, `${modules} modules`);
  assert.equal(stretches, 1, "they share the slots");
});

test("a translator for another engine is not used", { skip: missing }, async () => {
  const { modules, log } = await crowded(1, "another");
  assert.equal(modules, 0);
  assert.deepEqual(log.map((line) => /another friscy-snap/.test(line)), [true]);
});

test("in Chromium, and nothing of it is loaded before the prompt is there", { skip: missing }, async () => {
  const page = await browser.newPage();
  site.requests.length = 0;
  await page.goto(site.url);
  await shows(page, /\$\s*$/);
  assert.deepEqual(site.requests.filter(({ path }) => path.includes("translator")), []);
  const sums = (/** @type {string} */ text) => text.match(/checksum   [0-9a-f]{4}/g) ?? [];
  /** @type {number[]} */
  let functions = [];
  // Once more after it has come; a browser on a busy machine may take its time.
  for (let rounds = 1, after = 1; after >= 0; rounds += 1) {
    await page.keyboard.type("bench 4000; bench 5000\r");
    const seen = await shows(page, new RegExp(`(checksum   [0-9a-f]{4}[^]*){${2 * rounds}}`));
    assert.deepEqual(sums(seen).slice(-2), sums(printed));
    functions = await page.evaluate(() =>
      performance.getEntriesByName("friscy:translated").map((mark) => /** @type {PerformanceMark} */ (mark).detail),
    );
    if (functions.length > 0) after -= 1;
    assert.ok(rounds < 20, "it did not come");
  }
  assert.ok(functions.every((count) => count > 0), JSON.stringify(functions));
  await page.close();
});

for (const [what, gone] of /** @type {[string, RegExp][]} */ ([["its files", /translator/], ["its Wasm", /translator.*\.wasm/]])) {
  test(`in Chromium, without ${what}: the program runs on as it is`, { skip: missing }, async () => {
    const poor = await serve(`${work}unforeseen`, { gone });
    const page = await browser.newPage();
    try {
      await page.goto(poor.url);
      await shows(page, /\$\s*$/);
      await page.keyboard.type("bench 4000; echo and on\r");
      await shows(page, /checksum   [0-9a-f]{4}[^]*\nand on/);
      while (!poor.requests.some(({ path }) => gone.test(path))) await page.waitForTimeout(50);
      assert.equal(await page.locator("#status").textContent(), "running");
      assert.equal(await page.evaluate(() => performance.getEntriesByName("friscy:translated").length), 0);
    } finally {
      await page.close();
      poor.close();
    }
  });
}
