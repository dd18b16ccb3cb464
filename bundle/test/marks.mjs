// For `node --import`: at the end, how many functions were translated meanwhile.

import { isMainThread } from "node:worker_threads";

if (isMainThread) {
  process.on("exit", () => {
    const marks = /** @type {PerformanceMark[]} */ (performance.getEntriesByName("friscy:translated"));
    console.error(`translated ${marks.reduce((sum, mark) => sum + mark.detail, 0)}`);
  });
}
