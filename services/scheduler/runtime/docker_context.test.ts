import { buffer } from "node:stream/consumers";
import { extract } from "tar-stream";
import { expect, it } from "vitest";
import { createArchive } from "../../../sdk/typescript/src/bundle/archive.js";
import { ArchiveIsInvalidError } from "../../../sdk/typescript/src/bundle/check_archive.js";
import { buildContext } from "./docker_context.js";

it("holds the files of the archive, with what can be run, and the same time for all", async () => {
  const large = Buffer.alloc(3_000_000, "x");
  const { bytes } = createArchive(
    new Map([
      ["Dockerfile", { data: Buffer.from("FROM a") }],
      ["bin/run", { data: Buffer.from("#!"), executable: true }],
      ["large", { data: large }],
    ]),
  );
  const { tar, dockerfile } = await buildContext(bytes);
  expect(dockerfile).toBe("FROM a");
  const found: [string, number | undefined, number, number | undefined][] = [];
  for await (const entry of tar.pipe(extract())) {
    const { name, mode, mtime } = entry.header;
    found.push([name, mode, (await buffer(entry)).length, mtime?.getTime()]);
  }
  expect(found).toEqual([
    ["Dockerfile", 0o644, 6, 0],
    ["bin/run", 0o755, 2, 0],
    ["large", 0o644, large.length, 0],
  ]);
});

it("is refused where the archive is none, or would write outside of its folder", async () => {
  await expect(buildContext(Buffer.from("no zip"))).rejects.toThrow(ArchiveIsInvalidError);
  const { bytes } = createArchive(new Map([["../x", { data: Buffer.from("") }]]));
  await expect(buildContext(bytes)).rejects.toThrow(/outside of the folder/);
});

it("breaks off where a file is damaged", async () => {
  const { bytes } = createArchive(new Map([["file", { data: Buffer.from("some content that is long enough") }]]));
  const damaged = Buffer.from(bytes);
  damaged.writeUInt8(damaged.readUInt8(40) ^ 0xff, 40);
  const { tar } = await buildContext(damaged);
  await expect(buffer(tar)).rejects.toThrow('"file" is damaged');
});
