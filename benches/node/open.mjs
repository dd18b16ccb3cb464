// CPU ms that compiling and instantiating an app takes: node open.mjs APP.wasm
// Nothing in it runs. V8's threads may go on for a moment, and that counts.

import { readFile } from "node:fs/promises";

const bytes = await readFile(process.argv[2]);
const before = process.cpuUsage();
const module = await WebAssembly.compile(bytes);
const wanted = WebAssembly.Module.imports(module);
const imports = {};
for (const { module, name } of wanted) (imports[module] ??= {})[name] = () => 0;
await WebAssembly.instantiate(module, imports);
await new Promise((resolve) => setTimeout(resolve, 100));
const { user, system } = process.cpuUsage(before);
console.log((user + system) / 1e3);
