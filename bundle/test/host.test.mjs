// @ts-check
// host.js against the fake engine: what the ring must do at its edges.

import assert from "node:assert/strict";
import { test } from "node:test";

import { AppError, Machine } from "../web/host.js";
import { app, section } from "./fake.mjs";

/** A machine whose output is collected. @param {Partial<import("../web/host.js").Host>} [changes] @param {Buffer} [bytes] of its app */
async function open(changes = {}, bytes = app()) {
  let text = "";
  /** @type {(() => void)[]} */
  let listeners = [];
  const host = {
    /** @param {1 | 2} _fd @param {Uint8Array} bytes */
    write(_fd, bytes) {
      text += new TextDecoder().decode(bytes);
      listeners.splice(0).forEach((listener) => listener());
    },
    ...changes,
  };
  const machine = await Machine.open(await WebAssembly.compile(new Uint8Array(bytes)), host);
  return {
    machine,
    output: () => text,
    type: (/** @type {string} */ line) => machine.input(new TextEncoder().encode(line)),
    /** @param {string} part */
    async until(part) {
      while (!text.includes(part)) await new Promise((resolve) => listeners.push(() => resolve(undefined)));
    },
  };
}

test("lines go in, answers come out, the exit code is told", async () => {
  const guest = await open();
  const code = guest.machine.run();
  await guest.until("fake engine\n> ");
  guest.type("hello\n");
  await guest.until("you said hello");
  guest.type("exit 7\n");
  assert.equal(await code, 7);
  assert.match(guest.output(), /bye\n$/);
});

for (const [what, fused, taken] of /** @type {[string, string, boolean][]} */ ([
  ["are instantiated, once there is output", "\0asm\x01\0\0\0", true],
  ["are left out where the engine does not take them", "\0asm\x01\0\0\0?", false],
])) {
  test(`second forms of functions ${what}`, async (context) => {
    const { mock } = context.mock.method(WebAssembly, "instantiate");
    const guest = await open({}, Buffer.concat([app(), section("friscy.fused", new TextEncoder().encode(fused))]));
    assert.equal(mock.callCount(), 1);
    const code = guest.machine.run();
    await guest.until("fake engine\n> ");
    guest.type("exit 3\n");
    assert.equal(await code, 3);
    assert.equal(mock.callCount(), 2);
    const made = await mock.calls[1].result?.then(() => true).catch(() => false);
    assert.equal(made, taken);
  });
}

test("the end of input reaches the guest", async () => {
  const guest = await open();
  guest.machine.endInput();
  assert.equal(await guest.machine.run(), 99);
});

test("input longer than a read is given in parts", async () => {
  const guest = await open();
  guest.type(`${"a".repeat(60)}\n${"b".repeat(200)}\nexit 1\n`);
  assert.equal(await guest.machine.run(), 1);
  assert.match(guest.output(), /you said a{60}\n> you said b{200}\n/);
});

test("more events than the queue holds are kept", async () => {
  const guest = await open();
  for (let at = 1; at <= 300; at += 1) guest.machine.resize(at, 2 * at);
  const code = guest.machine.run();
  await guest.until("> ");
  guest.type("size\n");
  await guest.until("300x600 after 300");
  guest.type("exit 0\n");
  assert.equal(await code, 0);
});

test("signals are delivered", async () => {
  const guest = await open();
  const code = guest.machine.run();
  await guest.until("> ");
  guest.machine.signal(15);
  await guest.until("signal 15");
  guest.type("exit 0\n");
  await code;
});

test("timers wake an idle machine", async () => {
  const guest = await open();
  guest.type("sleep 30\n");
  const code = guest.machine.run();
  await guest.until("slept");
  guest.type("exit 0\n");
  assert.equal(await code, 0);
});

test("a busy machine leaves turns to its host", async () => {
  const guest = await open();
  guest.type("spin 400\n");
  const code = guest.machine.run();
  let turns = 0;
  const timer = setInterval(() => (turns += 1), 0);
  await guest.until("spun");
  clearInterval(timer);
  assert.ok(turns > 0, "no timer of the host ran while the guest was busy");
  guest.type("exit 0\n");
  await code;
});

test("memory may grow under the host", async () => {
  const guest = await open();
  guest.type("grow\nsize\nexit 3\n");
  const before = guest.machine.memoryBytes;
  assert.equal(await guest.machine.run(), 3);
  assert.equal(guest.machine.memoryBytes, before + 16 * 65536);
  assert.match(guest.output(), /grown/);
});

test("output that the host holds back holds the guest back", async () => {
  /** @type {(() => void)[]} */
  const held = [];
  let text = "";
  const guest = await open({
    write(_fd, bytes) {
      text += new TextDecoder().decode(bytes);
      return new Promise((resolve) => held.push(resolve));
    },
  });
  const code = guest.machine.run();
  guest.type("flood 10\nexit 5\n");
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.equal(held.length, 1);
  assert.doesNotMatch(text, /bye/);
  const timer = setInterval(() => held.splice(0).forEach((go) => go()), 1);
  assert.equal(await code, 5);
  clearInterval(timer);
  assert.match(text, /bye\n$/);
});

test("a crash tells the engine's last words", async () => {
  const guest = await open();
  guest.type("crash\n");
  await assert.rejects(guest.machine.run(), (error) => {
    assert.ok(error instanceof AppError);
    assert.equal(error.kind, "crash");
    assert.match(error.message, /the words before the end/);
    return true;
  });
});

test("files that are no apps are refused in words", async () => {
  const empty = new WebAssembly.Module(Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0));
  const host = { write() {} };
  await assert.rejects(Machine.open(empty, host), { kind: "not-an-app" });
  const newer = await WebAssembly.compile(app({ format: 9 }));
  await assert.rejects(Machine.open(newer, host), { kind: "version" });
});
