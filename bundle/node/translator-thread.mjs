// @ts-check
// Node's thread for translate.js, and the way to it.

import { readFile } from "node:fs/promises";
import { parentPort, Worker, workerData } from "node:worker_threads";

/** For the thread, which runs the same file as the process: what it does there. */
const TRANSLATE = "translate";

/** Whether this is that thread. */
export const isTranslator = workerData === TRANSLATE;

/** Starts it. @param {URL} file whose first act is to ask for {@link isTranslator} @returns {import("../web/translator.js").Thread} */
export function start(file) {
  const worker = new Worker(file, { workerData: TRANSLATE });
  // The process ends when the guest does.
  worker.unref();
  /** @type {import("../web/translator.js").Thread} */
  const thread = {
    postMessage: (request, transfer) => worker.postMessage(request, /** @type {any} */ (transfer)),
    onmessage: null,
    onerror: null,
    terminate: () => void worker.terminate(),
  };
  worker.on("message", (data) => thread.onmessage?.({ data }));
  worker.on("error", (error) => thread.onerror?.(error));
  return thread;
}

/** The thread. @param {URL} wasm the translator */
export async function serve(wasm) {
  const port = /** @type {import("node:worker_threads").MessagePort} */ (parentPort);
  const { answer, begin } = await import("../web/translate.js");
  port.on("message", (request) => {
    const { batch, transfer } = answer(request);
    port.postMessage(batch, transfer);
  });
  port.postMessage(await begin(await readFile(wasm)));
}
