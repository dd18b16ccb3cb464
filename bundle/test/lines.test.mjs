// @ts-check
// The cooked mode of guests without a terminal.

import assert from "node:assert/strict";
import { test } from "node:test";

import { LineInput } from "../web/lines.js";

function open() {
  /** @type {{ echo: string, input: string[], ends: number, signals: number[] }} */
  const seen = { echo: "", input: [], ends: 0, signals: [] };
  const lines = new LineInput((text) => (seen.echo += text), {
    input: (text) => seen.input.push(text),
    end: () => (seen.ends += 1),
    signal: (number) => seen.signals.push(number),
  });
  return { seen, lines };
}

test("a line is sent when it is complete, as it was corrected", () => {
  const { seen, lines } = open();
  lines.type("helo\x7flo");
  assert.deepEqual(seen.input, []);
  lines.type("\r");
  assert.deepEqual(seen.input, ["hello\n"]);
  assert.equal(seen.echo, "helo\b \blo\r\n");
});

test("control keys erase, end and interrupt; arrows are not typed", () => {
  const { seen, lines } = open();
  lines.type("wrong\x15\x1b[Aright\n");
  lines.type("half\x03");
  lines.type("\x04");
  lines.type("tail\x04");
  assert.deepEqual(seen.input, ["right\n", "tail"]);
  assert.deepEqual(seen.signals, [2]);
  assert.equal(seen.ends, 1);
});
