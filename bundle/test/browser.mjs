// @ts-check
// Chromium for tests, and the page's terminal as text.

import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const PLACES = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const FLAGS = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** A headless Chromium with a profile of its own. `CHROMIUM` names another one than the system's. */
export function launch() {
  const executablePath = process.env.CHROMIUM ?? PLACES.find((place) => existsSync(place));
  if (!executablePath) throw new Error("no Chromium found: install it, or set CHROMIUM to its path");
  return chromium.launch({ executablePath, headless: true, args: FLAGS });
}

/** What the terminal shows, history included. Runs in the page. */
export function terminalText() {
  const buffer = /** @type {any} */ (globalThis).friscy?.terminal?.buffer.active;
  if (!buffer) return "";
  /** @type {string[]} */
  const rows = [];
  for (let at = 0; at < buffer.length; at += 1) {
    const line = buffer.getLine(at);
    const row = line.translateToString(true);
    if (line.isWrapped) rows[rows.length - 1] += row;
    else rows.push(row);
  }
  return rows.join("\n").trimEnd();
}

/** {@link terminalText} of a page or a frame. @param {import("playwright-core").Frame | import("playwright-core").Page} page */
export const text = (page) => page.evaluate(terminalText);

/**
 * Waits until the terminal shows something; says what it showed instead when it does not.
 * @param {import("playwright-core").Frame | import("playwright-core").Page} page
 * @param {string | RegExp} wanted
 */
export async function shows(page, wanted, limitMs = 60_000) {
  const end = Date.now() + limitMs;
  for (;;) {
    const seen = await text(page);
    if (typeof wanted === "string" ? seen.includes(wanted) : wanted.test(seen)) return seen;
    if (Date.now() > end) {
      const status = await page.locator("body").innerText();
      throw new Error(`the terminal does not show ${wanted}; it shows:\n${seen}\n--- page:\n${status}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
