// @ts-check
// The first screen: what it shows of output, and what it leaves to the terminal.

import assert from "node:assert/strict";
import { test } from "node:test";

import { FirstScreen } from "../web/first.js";

const size = { rows: 4, cols: 10 };
const encoder = new TextEncoder();

/** What a screen of 4 × 10 shows after this output. @param {string[]} pieces */
function shown(...pieces) {
  const screen = new FirstScreen(size, false);
  for (const piece of pieces) assert.ok(screen.write(encoder.encode(piece)), JSON.stringify(piece));
  return screen.text;
}

test("lines, columns and scrolling are a terminal's", () => {
  assert.equal(shown("one\r\ntwo\nthree"), "one\ntwo\n   three");
  assert.equal(shown("12345678901\r\n"), "1234567890\n1");
  assert.equal(shown("1234567890\r\n2"), "1234567890\n2");
  assert.equal(shown("a\r\nb\r\nc\r\nd\r\ne"), "b\nc\nd\ne");
  assert.equal(shown("a\tb\bc"), "a       c");
  assert.equal(shown("12345678\t\tx\r\n"), "12345678 x");
});

test("prompts of bash, and of Python with its line editor", () => {
  assert.equal(shown("\x1b[?2004h", "\x1b]0;title\x07$ ", "\x1b[1;3", "1mred\x1b[0m"), "$ red");
  assert.equal(
    shown("Py 3\r\n", "\x1b[?2004h\x1b[?1h\x1b=\x1b[?25l\x1b[1A\n\x1b[1;35m>>> \x1b[0m\x1b[4D\x1b[?12l\x1b[?25h\x1b[4C"),
    "Py 3\n>>>",
  );
  assert.equal(shown("/ # \x1b[6n"), "/ #");
  assert.equal(shown("abc\x1b[2Dx\x1b[K"), "ax");
  assert.equal(shown("abc\r\ndef\x1b[A\x1b[J"), "abc");
  assert.equal(shown("x\x1b[5Gy"), "x   y");
});

test("characters that come in pieces, and in two bytes", () => {
  const bytes = encoder.encode("é│");
  const screen = new FirstScreen(size, false);
  for (const byte of bytes) assert.ok(screen.write(Uint8Array.of(byte)));
  assert.equal(screen.text, "é│");
});

test("a guest without a terminal writes bare line feeds", () => {
  const screen = new FirstScreen(size, true);
  assert.ok(screen.write(encoder.encode("a\nb\n")));
  assert.equal(screen.text, "a\nb");
});

test("what it does not know it leaves to the terminal, and all that follows", () => {
  for (const text of ["\x1b[?1049h", "\x1b[2J", "\x1b[3;4H", "\x1b[38;5;9mx", "\x1bP", "日", "e\u0301", "👍", "\x0e", "x".repeat(70000)]) {
    const screen = new FirstScreen(size, false);
    assert.equal(screen.write(encoder.encode(`${text} `)), false, JSON.stringify(text.slice(0, 20)));
    assert.equal(screen.write(encoder.encode("plain")), false);
  }
});
