// @ts-check
// The reader of a chunk store beside an app, against a plain static server.

import assert from "node:assert/strict";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";

import { Chunks } from "../web/chunks.js";
import { work } from "./fake.mjs";
import { serve } from "./site.mjs";

const root = `${work}chunks/`;
const BLOCK = 128 << 10;
const store = Uint8Array.from({ length: 10 * BLOCK + 12345 }, (_, at) => (at * 2654435761) >>> 24);
const name = "a.chunks";

before(() => {
  rmSync(root, { recursive: true, force: true });
  mkdirSync(`${root}cut`, { recursive: true });
  writeFileSync(root + name, store);
  for (let at = 0; at * 50_000 < store.length; at += 1) {
    writeFileSync(`${root}cut/${at}`, store.subarray(at * 50_000, (at + 1) * 50_000));
  }
});

after(() => rmSync(root, { recursive: true, force: true }));

/** @param {Parameters<typeof serve>[1]} options @param {(site: Awaited<ReturnType<typeof serve>>) => Promise<void>} check */
async function against(options, check) {
  const site = await serve(root, options);
  try {
    await check(site);
  } finally {
    site.close();
  }
}

/** @param {Chunks} chunks @param {number} offset @param {number} len */
async function same(chunks, offset, len) {
  assert.deepEqual(await chunks.read(offset, len), store.subarray(offset, offset + len), `${len} bytes at ${offset}`);
}

test("reads are blocks by Range; neighbours are one request; what is here is not asked for again", () =>
  against({ ranges: true }, async ({ url, requests }) => {
    const chunks = new Chunks({ url: url + name, bytes: store.length });
    await Promise.all([same(chunks, 5 * BLOCK - 10, 20), same(chunks, 6 * BLOCK + 1, 5)]);
    assert.deepEqual(requests.map(({ range }) => range), [`bytes=${4 * BLOCK}-${7 * BLOCK - 1}`]);
    await same(chunks, 6 * BLOCK, BLOCK);
    assert.equal(requests.length, 1);
    await same(chunks, store.length - 7, 7);
    assert.equal(requests[1].range, `bytes=${10 * BLOCK}-${store.length - 1}`);
    await assert.rejects(chunks.read(store.length - 7, 8), { kind: "damaged" });
  }));

test("who goes straight on is read ahead", () =>
  against({ ranges: true }, async ({ url, requests }) => {
    const chunks = new Chunks({ url: url + name, bytes: store.length });
    for (let at = 0; at < store.length; at += 40_000) await same(chunks, at, Math.min(40_000, store.length - at));
    assert.ok(requests.length <= 4, `${requests.length} requests`);
  }));

test("what was profiled is one request, and cut-off transfers go on where they ended", () =>
  against({ ranges: true, refuse: (_, count) => count < 2 }, async ({ url, requests }) => {
    /** @type {(string | undefined)[]} */
    const troubles = [];
    const place = { url: url + name, bytes: store.length, profile: 3 * BLOCK + 1 };
    const chunks = new Chunks(place, (trouble) => troubles.push(trouble));
    await same(chunks, 100, 3 * BLOCK);
    assert.ok(requests.every(({ range }) => range === `bytes=0-${4 * BLOCK - 1}`));
    assert.match(troubles[0] ?? "", /trying again/);
    assert.equal(troubles.at(-1), undefined);
  }));

test("files of a directory do without Range", () =>
  against({}, async ({ url, requests }) => {
    const chunks = new Chunks({ url: `${url}cut`, bytes: store.length, block: 50_000, profile: 60_000 });
    await same(chunks, 40_000, 200_000);
    await same(chunks, store.length - 60_000, 60_000);
    assert.ok(requests.every(({ range }) => range === undefined));
    await assert.rejects(new Chunks({ url: `${url}none`, bytes: 9, block: 5 }).read(0, 1), /answered 404/);
  }));

test("a server that knows no Range is named, with what helps", () =>
  against({}, async ({ url }) => {
    const chunks = new Chunks({ url: url + name, bytes: store.length });
    await assert.rejects(chunks.read(0, 1), /bundle --blocks/);
  }));
