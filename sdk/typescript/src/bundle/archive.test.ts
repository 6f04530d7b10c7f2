import { unzipSync } from "fflate";
import { expect, test } from "vitest";
import { createArchive } from "./archive.js";

const a = { data: Buffer.from("a") };
const b = { data: Buffer.from("b"), executable: true };

test("the order of the files does not change the archive", () => {
  const one = createArchive(
    new Map([
      ["main.mjs", a],
      ["node_modules/b/b.node", b],
    ]),
  );
  const other = createArchive(
    new Map([
      ["node_modules/b/b.node", b],
      ["main.mjs", a],
    ]),
  );
  expect(one.digest).toBe(other.digest);
  expect(one.digest).toMatch(/^[0-9a-f]{64}$/);
  expect(Object.keys(unzipSync(one.bytes))).toEqual(["main.mjs", "node_modules/b/b.node"]);
});

test("other content has another digest", () => {
  expect(createArchive(new Map([["main.mjs", a]])).digest).not.toBe(createArchive(new Map([["main.mjs", b]])).digest);
});

test("the archive does not depend on the time zone", () => {
  const zone = process.env.TZ;
  try {
    const digests = ["UTC", "Asia/Tokyo", "America/St_Johns"].map((name) => {
      process.env.TZ = name;
      return createArchive(new Map([["main.mjs", a]])).digest;
    });
    expect(new Set(digests).size).toBe(1);
  } finally {
    if (zone === undefined) delete process.env.TZ;
    else process.env.TZ = zone;
  }
});
