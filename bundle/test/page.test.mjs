// @ts-check
// The page in Chromium, with the fake engine: progress, failures, restart,
// resize, iframe, touch keys. The real machine is app.test.mjs's matter.

import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";

import { launch, shows, text } from "./browser.mjs";
import { app, section, work } from "./fake.mjs";
import { layOut, serve } from "./site.mjs";

/** @typedef {import("playwright-core").Page} Page */
const root = `${work}page/`;
const piped = { entry: { argv: ["fake"], hostname: "fake", tty: false } };
/** @type {import("playwright-core").Browser} */
let browser;
/** @type {Awaited<ReturnType<typeof serve>>} */
let site;

before(async () => {
  rmSync(root, { recursive: true, force: true });
  layOut(`${root}tty`, app());
  layOut(`${root}deeper/down/piped`, app(piped));
  const bytes = app();
  layOut(`${root}cut`, bytes.subarray(0, bytes.length / 2));
  layOut(`${root}newer`, app({ format: 99 }));
  layOut(`${root}other`, Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0));
  layOut(`${root}html`, Buffer.from("<html>a server's idea of an error</html>"));
  layOut(`${root}gone`, bytes);
  rmSync(`${root}gone/app.wasm`);
  mkdirSync(`${root}frame`);
  writeFileSync(`${root}frame/index.html`, '<!doctype html><iframe src="../tty/" width="700" height="400"></iframe>');
  site = await serve(root);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  site?.close();
});

/** @param {string} path @param {(page: Page) => Promise<void>} check @param {object} [options] */
async function visit(path, check, options = {}) {
  const context = await browser.newContext({ viewport: { width: 900, height: 560 }, ...options });
  const page = await context.newPage();
  /** @type {string[]} */
  const errors = [];
  page.on("pageerror", (error) => errors.push(String(error)));
  try {
    await page.goto(/^(http|about):/.test(path) ? path : site.url + path);
    await check(page);
    assert.deepEqual(errors, [], "errors in the page");
  } finally {
    await context.close();
  }
}

test("what is typed is answered; the exit code is shown; restart begins anew", () =>
  visit("tty/", async (page) => {
    await shows(page, "fake engine");
    assert.equal(await page.title(), "fake");
    await page.keyboard.type("hello\r");
    await shows(page, "you said hello");
    await page.keyboard.type("exit 7\r");
    await page.waitForSelector("body[data-state=exited]");
    assert.equal(await page.locator("#status").textContent(), "exited with code 7");
    await page.click("#restart");
    await page.waitForSelector("body[data-state=running]");
    await shows(page, "fake engine");
    assert.doesNotMatch(await text(page), /hello/);
    await page.keyboard.type("again\r");
    await shows(page, "you said again");
  }));

test("the guest knows its terminal's size from the first, and when it changes", () =>
  visit("tty/", async (page) => {
    await shows(page, "fake engine");
    await page.keyboard.type("size\r");
    const first = /(\d+)x(\d+) after (\d+)/.exec(await shows(page, / after \d/));
    const at = await page.evaluate(() => {
      const { rows, cols } = /** @type {any} */ (globalThis).friscy.terminal;
      return `${rows}x${cols}`;
    });
    assert.equal(`${first?.[1]}x${first?.[2]}`, at);
    await page.setViewportSize({ width: 500, height: 300 });
    await page.waitForFunction((old) => /** @type {any} */ (globalThis).friscy.terminal.cols < old, Number(first?.[2]));
    await page.keyboard.type("size\r");
    const cols = await page.evaluate(() => /** @type {any} */ (globalThis).friscy.terminal.cols);
    await shows(page, `x${cols} after`);
  }));

test("a guest without a terminal gets lines that the page edits; any path will do", () =>
  visit("deeper/down/piped/", async (page) => {
    await shows(page, "fake engine");
    await page.keyboard.type("helo");
    await page.keyboard.press("Backspace");
    await page.keyboard.type("lo");
    await page.keyboard.press("Enter");
    await shows(page, "you said hello");
    await page.keyboard.press("Control+c");
    await shows(page, "signal 2");
    await page.keyboard.press("Control+d");
    await page.waitForSelector("body[data-state=exited]");
    assert.equal(await page.locator("#status").textContent(), "exited with code 99");
  }));

test("much output arrives whole, and the page stays responsive", () =>
  visit("tty/", async (page) => {
    await shows(page, "fake engine");
    await page.keyboard.type("flood 3000\r");
    await shows(page, /x\n> $|x> $|x\s*>$/);
    await page.keyboard.type("spin 200\r");
    await shows(page, "spun");
  }));

test("first words are there before the terminal is, and nothing that is typed meanwhile is lost", () =>
  visit(
    "about:blank",
    async (page) => {
      /** @type {(value?: unknown) => void} */
      let release = () => {};
      const held = new Promise((resolve) => (release = resolve));
      await page.route("**/main.*.js", async (route) => {
        await held;
        await route.continue();
      });
      await page.goto(`${site.url}tty/`);
      await page.waitForFunction(() => document.querySelector("#first")?.textContent?.includes("fake engine"));
      const first = await page.locator("#first").innerText();
      assert.equal(await page.locator("#status").textContent(), "running");
      await page.evaluate(() => navigator.clipboard.writeText("pasted "));
      await page.keyboard.press("Control+Shift+v");
      await page.keyboard.type("hello");
      await page.keyboard.press("Enter");
      await page.screenshot({ path: `${work}first.png` });
      release();
      const all = await shows(page, "you said pasted hello");
      await page.waitForFunction(() => !document.querySelector("#first"));
      await page.screenshot({ path: `${work}terminal.png` });
      assert.equal(all.slice(0, first.trimEnd().length), first.trimEnd());
    },
    { permissions: ["clipboard-read", "clipboard-write"] },
  ));

test("a terminal that cannot be downloaded is told", () =>
  visit("about:blank", async (page) => {
    await page.route("**/main.*.js", (route) => route.abort());
    await page.goto(`${site.url}tty/`);
    await page.waitForFunction(() => /could not be downloaded/.test(document.querySelector("#status")?.textContent ?? ""));
    assert.ok((await page.locator("#first").innerText()).includes("fake engine"));
  }));

test("in an iframe", () =>
  visit("frame/", async (page) => {
    const handle = await page.waitForSelector("iframe");
    const frame = /** @type {import("playwright-core").Frame} */ (await handle.contentFrame());
    await shows(frame, "fake engine");
    await frame.click("#terminal");
    await page.keyboard.type("framed\r");
    await shows(frame, "you said framed");
  }));

test("text is pasted and copied", () =>
  visit(
    "tty/",
    async (page) => {
      await shows(page, "fake engine");
      await page.evaluate(() => navigator.clipboard.writeText("pasted words\n"));
      await page.keyboard.press("Control+Shift+v");
      await shows(page, "you said pasted words");
      await page.evaluate(() => /** @type {any} */ (globalThis).friscy.terminal.select(0, 0, 11));
      await page.keyboard.press("Control+Shift+c");
      await page.waitForFunction(async () => (await navigator.clipboard.readText()) === "fake engine");
    },
    { permissions: ["clipboard-read", "clipboard-write"] },
  ));

test("a phone gets the keys that its keyboard lacks", () =>
  visit(
    "deeper/down/piped/",
    async (page) => {
      await shows(page, "fake engine");
      await page.tap("[data-modifier=control]");
      await page.keyboard.type("c");
      await shows(page, "signal 2");
      await page.screenshot({ path: `${work}phone.png` });
    },
    { viewport: { width: 390, height: 700 }, hasTouch: true, isMobile: true },
  ));

for (const [path, title, message] of /** @type {[string, string, RegExp][]} */ ([
  ["cut/", "The file is damaged", /damaged or incomplete/],
  ["newer/", "File and page do not fit together", /format 99/],
  ["other/", "This is not an app", /not one that friscy-snap made/],
  ["html/", "The file is damaged", /not valid WebAssembly/],
  ["gone/", "The download failed", /404 for app\.wasm/],
])) {
  test(`failure in words: ${path} ${title}`, () =>
    visit(path, async (page) => {
      await page.waitForSelector("body[data-state=failed]");
      assert.equal(await page.locator("#failure-title").textContent(), title);
      assert.match((await page.locator("#failure-text").textContent()) ?? "", message);
      assert.ok(await page.locator("#retry").isVisible());
      await page.screenshot({ path: `${work}failure.png` });
    }));
}

test("a crash is told, with the engine's last words", () =>
  visit("tty/", async (page) => {
    await shows(page, "fake engine");
    await page.keyboard.type("crash\r");
    await page.waitForSelector("body[data-state=failed]");
    assert.match((await page.locator("#failure-text").textContent()) ?? "", /the words before the end/);
  }));

test("a browser without WebAssembly is told what it lacks", async () => {
  const page = await browser.newPage();
  try {
    await page.route("**/worker.*.js", async (route) => {
      const response = await route.fetch();
      await route.fulfill({ response, body: `delete globalThis.WebAssembly;${await response.text()}` });
    });
    await page.goto(`${site.url}tty/`);
    await page.waitForSelector("body[data-state=failed]");
    assert.equal(await page.locator("#failure-title").textContent(), "This browser cannot run it");
  } finally {
    await page.close();
  }
});

test("a server that does not know the type of Wasm will do", async () => {
  const plain = await serve(root, { types: { ".wasm": "application/octet-stream" } });
  try {
    await visit(`${plain.url}tty/`, async (page) => void (await shows(page, "fake engine")));
  } finally {
    plain.close();
  }
});

test("a slow download shows how far it is", async () => {
  const bytes = Buffer.concat([app(), section("padding", new Uint8Array(33 << 20))]);
  layOut(`${root}long`, bytes);
  const slow = await serve(root, { bytesPerMs: bytes.length / 3000 });
  try {
    await visit(`${slow.url}long/`, async (page) => {
      await page.waitForFunction(() => Number(document.querySelector("#bar")?.getAttribute("aria-valuenow")) > 30);
      await page.screenshot({ path: `${work}loading.png` });
      assert.match((await page.locator("#amount").textContent()) ?? "", /^\d[\d.]* of \d[\d.]* MB$/);
      await shows(page, "fake engine");
      assert.ok(!(await page.locator("#loading").isVisible()));
    });
  } finally {
    slow.close();
  }
});
