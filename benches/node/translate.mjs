// CPU ms of the page's translator: node translate.mjs FRISCY-NODE.MJS FOLDER REQUESTS
// Answers FOLDER/request-0 in a fresh thread, then all of them, so often that V8 has optimised what is hot. Prints what
// the first answer took, and what the last round did.

import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";

const ROUNDS = 5;
const [host, folder, count] = process.argv.slice(2);
const requests = [];
for (let number = 0; number < Number(count); number += 1) requests.push(await readFile(`${folder}/request-${number}`));
const worker = new Worker(pathToFileURL(host), { workerData: "translate" });
const heard = () => new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject));
await heard();

async function cost(requests) {
  const before = process.cpuUsage();
  for (const request of requests) {
    const answer = heard();
    worker.postMessage({ profile: new Uint8Array(request), first: 0 });
    await answer;
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e3;
}

const first = await cost(requests.slice(0, 1));
let last = 0;
for (let round = 0; round < ROUNDS; round += 1) last = await cost(requests);
console.log(`${first} ${last}`);
await worker.terminate();
