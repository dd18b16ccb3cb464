// @ts-check
// The demo as it is opened by people: in Chromium, in Node, and as a WASI
// command under node:wasi and wasmtime.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { launch, shows } from "./browser.mjs";
import { work } from "./fake.mjs";
import { serve } from "./site.mjs";
import { bundle, frozenApp, missing, pack, pipedApp, runToEnd } from "./snap.mjs";

const path = (/** @type {string} */ name) => fileURLToPath(new URL(name, import.meta.url));
/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Awaited<ReturnType<typeof serve>>} */
let site;
let piped = "";
let frozen = "";

before(async () => {
  if (missing) return;
  bundle(`${work}app/some/path`);
  for (const point of ["entry", "idle"]) {
    pack(`${work}demo-${point}.wasm`, ["-t", "--until", point]);
    bundle(`${work}app/${point}`, `${work}demo-${point}.wasm`);
  }
  piped = pipedApp();
  frozen = frozenApp();
  site = await serve(`${work}app`);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  site?.close();
});

test("in Chromium: a command's output, editing keys, Ctrl-C, resize, exit code", { skip: missing }, async () => {
  const page = await browser.newPage({ viewport: { width: 900, height: 600 } });
  await page.goto(`${site.url}some/path/`);
  await shows(page, "This is a Linux program");
  await page.keyboard.type("uname -m; head -1 README\r");
  await shows(page, /\nriscv64\nA SMALL WORLD/);
  await page.keyboard.type("echo ne");
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.type("o");
  await page.keyboard.press("Enter");
  await shows(page, /\nnoe\n/);
  await page.keyboard.type("mandel\r");
  await shows(page, /mandel\n[^]*\$ $|mandel\n[^]*\$$/);
  await page.screenshot({ path: `${work}demo.png` });
  await page.keyboard.type("sleep 100\r");
  await shows(page, /sleep 100\s*$/);
  await page.waitForTimeout(300);
  await page.keyboard.press("Control+c");
  await page.keyboard.type("echo status $?\r");
  await shows(page, /\nstatus 130/);
  await page.setViewportSize({ width: 480, height: 400 });
  await page.keyboard.type("exit 7\r");
  await page.waitForSelector("body[data-state=exited]");
  assert.equal(await page.locator("#status").textContent(), "exited with code 7");
  await page.close();
});

test("in Chromium: what was written before the freeze is shown once more, and the prompt answers", { skip: missing }, async () => {
  const screens = [];
  for (const point of ["entry", "idle"]) {
    const page = await browser.newPage({ viewport: { width: 900, height: 600 } });
    await page.goto(`${site.url}${point}/`);
    screens.push(await shows(page, /This is a Linux program[^]*\$\s*$/));
    await page.keyboard.type("echo answer\r");
    await shows(page, /\nanswer\n/);
    await page.close();
  }
  assert.equal(screens[1], screens[0]);
});

const script = "echo hello | cat\nseq 1000 | tail -n 1\necho $HOME\nexit 9\n";
const printed = "hello\n1000\n/home/demo\n";

/** Where the same file runs: `bash bundle/test/run` installs the newer Node and wasmtime, and names them. */
const nodes = Object.entries({ Node: process.execPath, "a newer Node": process.env.NEWER_NODE });
// V8's fast calls crash node:wasi at random in Node 20 to 22: https://github.com/nodejs/node/issues/53087
const wasiCommand = ["--no-warnings", "--no-turbo-fast-api-calls", path("wasi-command.mjs")];
const commands = Object.entries({
  "node:wasi": [process.execPath, ...wasiCommand],
  "node:wasi of a newer Node": process.env.NEWER_NODE && [process.env.NEWER_NODE, ...wasiCommand],
  wasmtime: process.env.WASMTIME_PYTHON && [process.env.WASMTIME_PYTHON, path("wasmtime_command.py")],
});

for (const [name, node] of nodes) {
  test(`in ${name}: input, output, exit code`, { skip: missing || (!node && "not installed") }, () => {
    const { stdout, stderr, status } = runToEnd(String(node), [path("../node/friscy-node.mjs"), piped], { input: script });
    assert.deepEqual([stdout, stderr, status], [printed, "", 9]);
  });
}

for (const [name, command] of commands) {
  test(`under ${name}: input, arguments, environment, exit code`, { skip: missing || (!command && "not installed") }, () => {
    const [program, ...first] = /** @type {string[]} */ (command);
    const run = (/** @type {string[]} */ args, /** @type {string} */ input) =>
      runToEnd(program, [...first, piped, ...args], { input, env: { ...process.env, GUEST: "from outside" } });
    const plain = run([], script);
    assert.deepEqual([plain.stdout, plain.status], [printed, 9], plain.stderr);
    const other = run(["-c", 'echo "$GUEST" $1; exit 3', "sh", "argument"], "");
    assert.deepEqual([other.stdout, other.status], ["from outside argument\n", 3], other.stderr);
  });
}

const written = Array.from({ length: 20000 }, (_, n) => `${n + 1}\n`).join("");
const openers = [
  ...nodes.map(([name, node]) => [name, node && [node, path("../node/friscy-node.mjs")]]),
  ...commands,
];

for (const [name, opener] of openers) {
  test(`what was written before the freeze is repeated under ${name}`, { skip: missing || (!opener && "not installed") }, () => {
    const [program, ...first] = /** @type {string[]} */ (opener);
    const { stdout, stderr, status } = runToEnd(program, [...first, frozen], { input: "after\n" });
    assert.equal(stdout === `${written}ready\nafter\n`, true, `${stdout.length} characters`);
    assert.deepEqual([stderr, status], ["begun\n", 8]);
  });
}
