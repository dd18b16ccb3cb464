// @ts-check
// Lays out a page as `friscy-snap bundle` does, and serves directories with a
// plain static server: right types, no special headers.

import { execFileSync } from "node:child_process";
import { cpSync, createReadStream, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const bundle = fileURLToPath(new URL("../", import.meta.url));
const page = fileURLToPath(new URL("../../target/bundle-test-page/", import.meta.url));
let built = false;

/**
 * The page's files and an app in `directory`.
 * @param {string} directory
 * @param {Uint8Array} app
 * @param {Partial<import("../web/boot.js").Config>} [config] more that the page is told
 */
export function layOut(directory, app, config = {}) {
  if (!built) execFileSync(process.execPath, [`${bundle}build.mjs`, page]);
  built = true;
  rmSync(directory, { recursive: true, force: true });
  cpSync(page, directory, { recursive: true });
  writeFileSync(join(directory, "app.wasm"), app);
  const index = join(directory, "index.html");
  const told = JSON.stringify({ app: "app.wasm", bytes: app.length, title: "app", ...config });
  writeFileSync(index, readFileSync(index, "utf8").replace('{"app":"app.wasm"}', told));
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
 * @typedef {{ path: string, range?: string }} Request
 * @param {{ types?: Record<string, string>, bytesPerMs?: number, ranges?: boolean, gone?: RegExp,
 *   refuse?: (request: Request, count: number) => boolean }} [options]
 *   other types (a server that does not know wasm); a slow line; Range; paths that are not there; requests (the
 *   count-th of those that might be) that get no answer
 */
export async function serve(root, options = {}) {
  /** @type {Request[]} */
  const requests = [];
  let refused = 0;
  const server = createServer((request, response) => {
    const asked = { path: request.url ?? "/", range: request.headers.range };
    requests.push(asked);
    if (options.refuse?.(asked, refused)) {
      refused += 1;
      request.socket.destroy();
      return;
    }
    const path = join(root, normalize(decodeURIComponent(new URL(request.url ?? "/", "http://x").pathname)));
    const file = path.endsWith("/") ? `${path}index.html` : path;
    try {
      if (options.gone?.test(file)) throw new Error("gone");
      const size = statSync(file).size;
      const [, first, last] = (options.ranges && asked.range?.match(/^bytes=(\d+)-(\d+)$/)) || [];
      if (last !== undefined) {
        const [start, end] = [Number(first), Math.min(Number(last), size - 1)];
        const headers = { "content-range": `bytes ${start}-${end}/${size}`, "content-length": end - start + 1 };
        response.writeHead(206, headers);
        createReadStream(file, { start, end }).pipe(response);
        return;
      }
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
    requests,
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
