// @ts-check
// Browsers other than Chromium: Firefox by Marionette, its own protocol, and WebKitGTK by its driver. What they are
// asked for is WebDriver's (https://www.w3.org/TR/webdriver2/) in both. One that is not installed is not tested.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * A tab of a browser.
 * @typedef {object} Tab
 * @property {string} version what the browser calls itself
 * @property {(url: string) => Promise<unknown>} open
 * @property {(script: string) => Promise<any>} evaluate the body of a function, and what it returns
 * @property {(keys: string) => Promise<unknown>} type to the element that has the focus
 * @property {() => Promise<Buffer>} screenshot PNG
 * @property {() => void} close the tab, its browser and its profile
 */

/** What `look` finds, when it finds something. @template T @param {() => T | undefined | Promise<T | undefined>} look @param {string} what */
async function wait(look, what, limitMs = 60_000) {
  for (const end = Date.now() + limitMs; Date.now() < end; ) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`no ${what} in ${limitMs / 1000} s`);
}

/** A program in a process group and a directory of its own. @param {string} name @param {(directory: string) => string[]} args @param {NodeJS.ProcessEnv} [env] */
function start(name, args, env = {}) {
  const directory = mkdtempSync(join(tmpdir(), "friscy-browser-"));
  const child = spawn(name, args(directory), {
    detached: true,
    stdio: "ignore",
    env: { ...process.env, HOME: directory, TMPDIR: directory, ...env },
  });
  let ended = "";
  child.on("error", (error) => void (ended = String(error)));
  child.on("exit", (code, signal) => void (ended = `it ended: ${code ?? signal}`));
  return {
    directory,
    alive() {
      if (ended) throw new Error(`${name}: ${ended}`);
    },
    end() {
      try {
        if (child.pid && !ended) process.kill(-child.pid, "SIGKILL");
      } catch {
        // It has just ended.
      }
      rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
    },
  };
}

/** The first of these that is there. @param {string[]} paths */
const found = (...paths) => paths.find((path) => existsSync(path));

const firefoxPath = process.env.FIREFOX ?? found("/usr/bin/firefox-esr", "/usr/bin/firefox");
const webkitPath = found("/usr/bin/WebKitWebDriver");

/** Firefox. @returns {Promise<Tab>} */
async function firefox() {
  const process = start(String(firefoxPath), (directory) => {
    writeFileSync(join(directory, "user.js"), 'user_pref("marionette.port", 0);\n');
    return ["--headless", "--marionette", "--no-remote", "--profile", directory, "about:blank"];
  });
  try {
    const port = await wait(() => {
      process.alive();
      const file = join(process.directory, "MarionetteActivePort");
      return existsSync(file) ? Number(readFileSync(file, "utf8")) || undefined : undefined;
    }, "port of Firefox");
    const socket = connect(port, "127.0.0.1");
    /** @type {Map<number, { resolve: (value: any) => void, reject: (error: Error) => void }>} */
    const asked = new Map();
    let [received, count] = [Buffer.alloc(0), 0];
    const failed = (/** @type {Error} */ error) => asked.forEach(({ reject }) => reject(error));
    socket.on("error", failed);
    socket.on("close", () => failed(new Error("Firefox has closed its line")));
    // Each message is its length in decimal, a colon, and JSON: an object to begin with, and [1, id, error, result] for
    // an answer.
    socket.on("data", (data) => {
      received = Buffer.concat([received, data]);
      for (;;) {
        const colon = received.indexOf(":");
        const end = colon + 1 + Number(received.subarray(0, Math.max(colon, 0)));
        if (colon < 0 || received.length < end) return;
        const message = JSON.parse(received.toString("utf8", colon + 1, end));
        received = received.subarray(end);
        if (!Array.isArray(message)) continue;
        const [, id, error, result] = message;
        const { resolve, reject } = asked.get(id) ?? {};
        asked.delete(id);
        if (error) reject?.(new Error(`Firefox: ${error.error}: ${error.message}`));
        else resolve?.(result);
      }
    });
    /** @param {string} command @param {object} parameters @returns {Promise<any>} */
    const ask = (command, parameters) =>
      new Promise((resolve, reject) => {
        count += 1;
        asked.set(count, { resolve, reject });
        const message = JSON.stringify([0, count, `WebDriver:${command}`, parameters]);
        socket.write(`${Buffer.byteLength(message)}:${message}`);
      });
    const { capabilities } = await ask("NewSession", {});
    return {
      version: `Firefox ${capabilities.browserVersion}`,
      open: (url) => ask("Navigate", { url }),
      evaluate: async (script) => (await ask("ExecuteScript", { script, args: [], sandbox: null })).value,
      type: async (keys) => ask("PerformActions", { actions: strokes(keys) }),
      screenshot: async () => Buffer.from((await ask("TakeScreenshot", { full: false })).value, "base64"),
      close() {
        socket.destroy();
        process.end();
      },
    };
  } catch (error) {
    process.end();
    throw error;
  }
}

/** A keyboard's actions. @param {string} keys */
const strokes = (keys) => [
  {
    type: "key",
    id: "keyboard",
    actions: [...keys].flatMap((key) => {
      const value = key === "\r" ? "\uE007" : key;
      return [
        { type: "keyDown", value },
        { type: "keyUp", value },
      ];
    }),
  },
];

/** WebKitGTK's MiniBrowser. @returns {Promise<Tab>} */
async function webkit() {
  const port = 20000 + (process.pid % 20000);
  // It has no headless mode: xvfb-run gives it a display.
  const driver = start("xvfb-run", () => ["-a", String(webkitPath), `--port=${port}`]);
  /** @param {string} method @param {string} path @param {object} [body] */
  const ask = async (method, path, body) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, { method, body: body && JSON.stringify(body) });
    const { value } = /** @type {any} */ (await response.json());
    if (!response.ok) throw new Error(`WebKitGTK: ${value.error}: ${value.message}`);
    return value;
  };
  try {
    await wait(() => {
      driver.alive();
      return ask("GET", "/status").catch(() => undefined);
    }, "answer of WebKitWebDriver");
    const { sessionId, capabilities } = await ask("POST", "/session", { capabilities: {} });
    const session = `/session/${sessionId}`;
    return {
      version: `WebKitGTK ${capabilities.browserVersion}`,
      open: (url) => ask("POST", `${session}/url`, { url }),
      evaluate: (script) => ask("POST", `${session}/execute/sync`, { script, args: [] }),
      type: (keys) => ask("POST", `${session}/actions`, { actions: strokes(keys) }),
      screenshot: async () => Buffer.from(await ask("GET", `${session}/screenshot`), "base64"),
      close: () => driver.end(),
    };
  } catch (error) {
    driver.end();
    throw error;
  }
}

/** Browsers by name: how to start one, or why there is none. @type {Record<string, { launch: () => Promise<Tab>, missing: string | false }>} */
export const browsers = {
  Firefox: { launch: firefox, missing: !firefoxPath && "firefox-esr is not installed" },
  WebKitGTK: {
    launch: webkit,
    missing: !(webkitPath && found("/usr/bin/xvfb-run")) && "webkit2gtk-driver or xvfb is not installed",
  },
};
