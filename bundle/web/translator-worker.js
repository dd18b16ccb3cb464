// @ts-check
// The page's thread for translate.js.

import { answer, begin } from "./translate.js";

const scope = /** @type {any} */ (globalThis);

async function download() {
  const response = await fetch(new URL("translator.wasm", scope.location.href));
  if (!response.ok) throw new Error(`the server answered ${response.status} for the translator`);
  const streaming = /^application\/wasm\b/i.test(response.headers.get("content-type") ?? "");
  return streaming ? WebAssembly.compileStreaming(response) : response.arrayBuffer();
}

scope.onmessage = (/** @type {MessageEvent<import("./translator.js").Request>} */ { data }) => {
  const { batch, transfer } = answer(data);
  scope.postMessage(batch, transfer);
};
download()
  .then(begin)
  .then(scope.postMessage, (error) => {
    // As an error of this thread.
    setTimeout(() => {
      throw error;
    });
  });
