// @ts-check
// From page navigation to the first guest output in Chromium, beside an empty
// page with a worker that compiles an 8-byte module, in the same run:
//
//     node benches/page-start.mjs [DIRECTORY] [RUNS]
//
// DIRECTORY is what `friscy-snap bundle` wrote (default: the demo, bundled now).
// Cold and warm visits alternate between the two pages; the median and the
// ratio are printed. Needs bundle/node_modules (bash bundle/test/run installs it).

import { mkdirSync, rmSync, writeFileSync } from "node:fs";

import { launch } from "../bundle/test/browser.mjs";
import { work } from "../bundle/test/fake.mjs";
import { serve } from "../bundle/test/site.mjs";
import { bundle } from "../bundle/test/snap.mjs";

const EMPTY_PAGE = `<!doctype html><title>empty</title><script type="module">
  const worker = new Worker("worker.js", { type: "module" });
  worker.onmessage = () => performance.mark("friscy:first-output");
</script>`;
const EMPTY_WORKER = `
  const module = await WebAssembly.compileStreaming(fetch("empty.wasm"));
  await WebAssembly.instantiate(module, {});
  postMessage(0);
`;

/** @param {number[]} values */
function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[sorted.length >> 1];
}

/**
 * Milliseconds from navigation to the first output.
 * @param {Awaited<ReturnType<Awaited<ReturnType<typeof launch>>["newPage"]>>} page @param {string} url
 */
async function visit(page, url) {
  await page.goto(url);
  const first = () => performance.getEntriesByName("friscy:first-output")[0]?.startTime;
  const handle = await page.waitForFunction(first, undefined, { polling: 5, timeout: 120_000 });
  return Number(await handle.jsonValue());
}

const [directory, runs = "9"] = process.argv.slice(2);
const empty = `${work}empty`;
rmSync(empty, { recursive: true, force: true });
mkdirSync(empty, { recursive: true });
writeFileSync(`${empty}/index.html`, EMPTY_PAGE);
writeFileSync(`${empty}/worker.js`, EMPTY_WORKER);
writeFileSync(`${empty}/empty.wasm`, Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0));
if (!directory) bundle(`${work}bench`);

const sites = { empty: await serve(empty), app: await serve(directory || `${work}bench`) };
const browser = await launch();
/** @type {Record<string, { empty: number[], app: number[] }>} */
const times = { cold: { empty: [], app: [] }, warm: { empty: [], app: [] } };
for (let run = 0; run < Number(runs); run += 1) {
  for (const name of /** @type {const} */ (["empty", "app"])) {
    // A context of its own has an empty cache; the second visit finds it filled.
    const context = await browser.newContext();
    const page = await context.newPage();
    times.cold[name].push(await visit(page, sites[name].url));
    times.warm[name].push(await visit(page, sites[name].url));
    await context.close();
  }
}
await browser.close();
sites.empty.close();
sites.app.close();

for (const [kind, { empty, app }] of Object.entries(times)) {
  const [base, value] = [median(empty), median(app)];
  const ratio = (value / base).toFixed(2);
  console.log(`${kind}: empty page ${base.toFixed(0)} ms, app ${value.toFixed(0)} ms, ratio ${ratio} (median of ${runs})`);
}
