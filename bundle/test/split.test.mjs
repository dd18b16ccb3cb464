// @ts-check
// Layout `split` in Chromium: the demo with its chunk store beside it, from a
// server with Range, as files, with damage, and from one that is gone for a while.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";

import { launch, shows } from "./browser.mjs";
import { work } from "./fake.mjs";
import { serve } from "./site.mjs";
import { command, missing, pack } from "./snap.mjs";

const root = `${work}split/`;
/** @type {import("playwright-core").Browser} */
let browser;

before(async () => {
  if (missing) return;
  rmSync(root, { recursive: true, force: true });
  mkdirSync(root, { recursive: true });
  pack(`${root}demo.wasm`, ["--layout=split", "-t"]);
  execFileSync(command, ["bundle", `${root}demo.wasm`, "-o", `${root}range`, "-q"]);
  execFileSync(command, ["bundle", `${root}demo.wasm`, "-o", `${root}blocks`, "-q", "--blocks"]);
  browser = await launch();
});

after(() => browser?.close());

/**
 * @param {string} directory @param {Parameters<typeof serve>[1]} options
 * @param {(page: import("playwright-core").Page, site: Awaited<ReturnType<typeof serve>>) => Promise<void>} check
 */
async function visit(directory, options, check) {
  const site = await serve(`${root}${directory}`, options);
  const context = await browser.newContext();
  const page = await context.newPage();
  try {
    await page.goto(site.url);
    await check(page, site);
  } finally {
    await context.close();
    site.close();
  }
}

/** Reads files that the shell has not read before. @param {import("playwright-core").Page} page */
async function session(page) {
  await shows(page, "This is a Linux program");
  await page.keyboard.type("head -1 README; mandel >/dev/null && echo all there\r");
  await shows(page, /A SMALL WORLD\n(.*\n)*all there/);
}

test("contents that were not foreseen come by Range", { skip: missing }, () =>
  visit("range", { ranges: true }, async (page, site) => {
    await session(page);
    const ranges = site.requests.filter(({ path }) => path.endsWith(".chunks")).map(({ range }) => range);
    assert.ok(ranges.length > 0 && ranges.every((range) => /^bytes=\d+-\d+$/.test(range ?? "")), String(ranges));
  }));

test("contents come as files where there is no Range", { skip: missing }, () =>
  visit("blocks", {}, async (page, site) => {
    await session(page);
    assert.ok(site.requests.some(({ path }) => path.endsWith(".chunks/0")));
  }));

test("a server that is gone for a while is waited for", { skip: missing }, () =>
  visit("range", { ranges: true, refuse: ({ path }, count) => path.endsWith(".chunks") && count < 6 }, async (page) => {
    await shows(page, "This is a Linux program");
    await page.keyboard.type("cat README >/dev/null\r");
    await page.waitForFunction(() => /trying again/.test(document.querySelector("#status")?.textContent ?? ""));
    await session(page);
    assert.equal(await page.locator("#status").textContent(), "running");
  }));

test("damaged contents are asked for again, then told", { skip: missing }, async () => {
  const [name] = readdirSync(`${root}range`).filter((file) => file.endsWith(".chunks"));
  const file = `${root}range/${name}`;
  const whole = readFileSync(file);
  const damaged = Buffer.from(whole);
  damaged.fill(0x55);
  writeFileSync(file, damaged);
  try {
    await visit("range", { ranges: true }, async (page, site) => {
      await shows(page, "This is a Linux program");
      await page.keyboard.type("cat README\r");
      await shows(page, /a chunk[^]*damaged/);
      assert.ok(site.requests.filter(({ path }) => path.endsWith(".chunks")).length >= 3);
    });
  } finally {
    writeFileSync(file, whole);
  }
});

test("missing contents are told", { skip: missing }, () =>
  visit("range", { ranges: true, gone: /\.chunks$/ }, async (page) => {
    await shows(page, "This is a Linux program");
    await page.keyboard.type("cat README\r");
    await shows(page, /Contents of files are missing: the server answered\s+404/);
  }));
