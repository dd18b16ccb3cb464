// @ts-check
// The page in browsers with other engines than V8: it runs, and translates what
// is hot. Chromium is page.test.mjs's and translator.test.mjs's.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { terminalText } from "./browser.mjs";
import { work } from "./fake.mjs";
import { serve } from "./site.mjs";
import { bundle, missing, pack } from "./snap.mjs";
import { browsers } from "./webdriver.mjs";

/** One is translated before, the other meanwhile. */
const [foreseen, unforeseen] = ["bench 4000 2>&1 | grep checksum", "mandel 60 900 | tail -n 450 | head -n 1"];
/** @type {Awaited<ReturnType<typeof serve>>} */
let site;
/** What they print, interpreted. */
let printed = "";

before(async () => {
  if (missing || Object.values(browsers).every(({ missing }) => missing)) return;
  pack(`${work}engines-piped.wasm`, ["-t=false", "--aot", "off"]);
  const host = fileURLToPath(new URL("../node/friscy-node.mjs", import.meta.url));
  const input = `${foreseen}; ${unforeseen}\n`;
  printed = execFileSync(process.execPath, [host, `${work}engines-piped.wasm`], { input, encoding: "utf8" }).trim();
  pack(`${work}engines.wasm`, ["-t", "--train", "bench 2000"]);
  bundle(`${work}engines`, `${work}engines.wasm`);
  site = await serve(`${work}engines`);
});

after(() => site?.close());

for (const [name, { launch, missing: absent }] of Object.entries(browsers)) {
  test(`in ${name}: a shell, and code that is translated before and meanwhile`, { skip: missing || absent }, async (t) => {
    const tab = await launch();
    try {
      t.diagnostic(tab.version);
      const text = () => tab.evaluate(`return (${terminalText})()`);
      const shows = async (/** @type {RegExp} */ wanted) => {
        for (const end = Date.now() + 60_000; ; await new Promise((resolve) => setTimeout(resolve, 50))) {
          const seen = await text();
          if (wanted.test(seen)) return seen;
          assert.ok(Date.now() < end, `${wanted} is not in:\n${seen}\n--- page:\n${await tab.evaluate("return document.body.innerText")}`);
        }
      };
      await tab.open(site.url);
      await shows(/\$\s*$/);
      await tab.evaluate("friscy.terminal.focus()");
      const translated = () => tab.evaluate('return performance.getEntriesByName("friscy:translated").length');
      // Once more after it has come; a browser on a busy machine may take its time.
      for (let round = 1, after = 1; after >= 0; round += 1) {
        assert.ok(round < 20, "nothing was translated meanwhile");
        await tab.type(`clear; ${foreseen}; ${unforeseen}; echo round ${round}\r`);
        const seen = await shows(new RegExp(`\\nround ${round}\\n`));
        assert.ok(seen.includes(`${printed}\nround ${round}`), `${seen}\n--- and not\n${printed}`);
        if ((await translated()) > 0) after -= 1;
      }
    } finally {
      tab.close();
    }
  });
}
