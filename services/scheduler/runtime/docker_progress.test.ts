import { PassThrough, Readable } from "node:stream";
import { expect, it } from "vitest";
import { readProgress } from "./docker_progress.js";
import { ImageBuildError } from "./runtime.js";

const never = new AbortController().signal;

/** What is printed of these lines, which come in parts of so many bytes. */
async function read(lines: readonly object[], partBytes = 1_000) {
  const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\r\n`).join(""));
  const parts = [];
  for (let start = 0; start < bytes.length; start += partBytes) parts.push(bytes.subarray(start, start + partBytes));
  let printed = "";
  const image = await readProgress(Readable.from(parts, { objectMode: false }), (text) => (printed += text), never);
  return { image, printed };
}

const BUILT = [
  { stream: "Step 1/2 : FROM x\n" },
  { status: "Pulling from library/x", id: "latest" },
  { status: "Downloading", id: "abc", progressDetail: { current: 1, total: 9 } },
  { status: "Pull complete", id: "abc", progressDetail: {} },
  { status: "Status: Downloaded" },
  { aux: { ID: "sha256:first" } },
  { stream: "ä\n" },
  { aux: { ID: "sha256:last" } },
];

it.each([1_000, 1, 7])(
  "prints what the build says, and answers the last image, in parts of %d bytes",
  async (bytes) => {
    const printed = "Step 1/2 : FROM x\nlatest: Pulling from library/x\nabc: Pull complete\nStatus: Downloaded\nä\n";
    expect(await read(BUILT, bytes)).toEqual({ image: "sha256:last", printed });
  },
);

it("prints lines as a step wrote them, without the paint of the engine", async () => {
  const lines = [{ stream: "\u001b[91mno such file\n\u001b[0m" }, { stream: "about to fail\n" }];
  expect((await read([...lines, ...BUILT])).printed).toMatch(/^no such file\nabout to fail\nStep/);
});

it("throws what the engine says went wrong", async () => {
  await expect(read([...BUILT, { error: "status 1", errorDetail: {} }])).rejects.toThrow(
    new ImageBuildError("status 1"),
  );
});

it("takes an end without an image for an engine that is away, and no fault of the build", async () => {
  await expect(read([{ stream: "Step 1" }])).rejects.not.toBeInstanceOf(ImageBuildError);
});

it("ends the stream when it is to stop", async () => {
  const stopping = new AbortController();
  const stream = new PassThrough();
  const reading = readProgress(stream, () => stopping.abort(), stopping.signal);
  stream.write('{"stream":"Step 1"}\n');
  await expect(reading).rejects.toThrow("the build was ended");
  expect(stream.destroyed).toBe(true);
});
