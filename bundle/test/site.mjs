// @ts-check
// Lays out a page as `friscy-snap bundle` does, and serves directories with a
// plain static server: right types, no special headers.

import { copyFileSync, cpSync, createReadStream, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const bundle = fileURLToPath(new URL("../", import.meta.url));

/**
 * The page's files and an app in `directory`.
 * @param {string} directory
 * @param {Uint8Array} app
 */
export function layOut(directory, app) {
  rmSync(directory, { recursive: true, force: true });
  cpSync(`${bundle}web`, directory, { recursive: true });
  const { vendor } = JSON.parse(readFileSync(`${bundle}package.json`, "utf8"));
  for (const [name, from] of Object.entries(vendor)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    copyFileSync(`${bundle}node_modules/${from}`, join(directory, name));
  }
  writeFileSync(join(directory, "app.wasm"), app);
  writeFileSync(join(directory, "friscy.json"), JSON.stringify({ app: "app.wasm", bytes: app.length, title: "app" }));
}

/** @type {Record<string, string>} */
const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".css": "text/css",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

/**
 * Serves `root` at a free port.
 * @param {string} root
 * @param {{ types?: Record<string, string>, bytesPerMs?: number }} [options]
 *   other types (a server that does not know wasm); a slow line
 */
export async function serve(root, options = {}) {
  const server = createServer((request, response) => {
    const path = join(root, normalize(decodeURIComponent(new URL(request.url ?? "/", "http://x").pathname)));
    const file = path.endsWith("/") ? `${path}index.html` : path;
    try {
      const size = statSync(file).size;
      const type = { ...TYPES, ...options.types }[extname(file)] ?? "application/octet-stream";
      response.writeHead(200, { "content-type": type, "content-length": size });
    } catch {
      response.writeHead(404).end("not found");
      return;
    }
    if (options.bytesPerMs && file.endsWith(".wasm")) trickle(readFileSync(file), options.bytesPerMs, response);
    else createReadStream(file).pipe(response);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return {
    url: `http://127.0.0.1:${port}/`,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** @param {Buffer} bytes @param {number} bytesPerMs @param {import("node:http").ServerResponse} response */
async function trickle(bytes, bytesPerMs, response) {
  const step = Math.ceil(bytesPerMs * 20);
  for (let at = 0; at < bytes.length && !response.destroyed; at += step) {
    response.write(bytes.subarray(at, at + step));
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  response.end();
}
