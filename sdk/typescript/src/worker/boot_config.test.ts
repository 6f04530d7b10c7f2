import { existsSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BootConfigIsInvalidError, bootFileText, parseConfig, readBootFile } from "./boot_config.js";
import type { FirstWork } from "./first_work.js";

const CONFIG = {
  schedulerUrl: "http://127.0.0.1:1",
  otherUrls: ["http://127.0.0.1:2"],
  workerId: "wrk-1",
  workerToken: "secret",
  bundleCacheDir: "/code",
};
const WORK: FirstWork = {
  notAfterMs: 5,
  apiUrl: "http://127.0.0.1:3",
  maxPayloadBytes: 10,
  memoryBytes: 100,
  bind: { projectName: "p", versionId: "v", functionName: "f", environment: { A: "two\nlines" } },
  assign: {
    executionId: "e1",
    invocationId: "i1",
    attemptNumber: 1,
    parentInvocationId: "",
    executionToken: "token",
    arguments: { positional: { contentType: "application/json", data: '["ü\\n"]' }, named: undefined },
  },
  bundle: { digest: "d", archiveBase64: "YQ==" },
};

let folder: string;
const text = ({ config }: { config: Uint8Array }) => new TextDecoder().decode(config);

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "multinode-boot-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("a boot file", () => {
  it.each([
    ["with first work", WORK],
    ["without", undefined],
  ])("is read as it was written: %s", (_, work) => {
    const path = join(folder, "boot");
    writeFileSync(path, bootFileText(CONFIG, work));
    const { config, firstWork } = readBootFile(path);
    expect(parseConfig(text({ config }))).toEqual(CONFIG);
    expect(firstWork).toEqual(work && { ...work, bundleCacheDir: "/code" });
    expect(existsSync(path)).toBe(false);
  });

  it("lies in memory of its own, which can go to the other thread", () => {
    const path = join(folder, "boot");
    writeFileSync(path, bootFileText(CONFIG, WORK));
    const { config } = readBootFile(path);
    expect(config.buffer.byteLength).toBe(config.byteLength);
    expect(JSON.stringify(readableOf(WORK))).not.toContain(CONFIG.workerToken);
  });

  it("is left where it is only a way to something else", () => {
    const path = join(folder, "stdin");
    writeFileSync(join(folder, "pipe"), bootFileText(CONFIG));
    symlinkSync(join(folder, "pipe"), path);
    readBootFile(path);
    expect(existsSync(path)).toBe(true);
  });

  it.each([
    ["{", "the configuration is not JSON"],
    ["", "the configuration is not JSON"],
    ["{}", 'the configuration has no "schedulerUrl"'],
  ])("that holds %j is refused", (content, problem) => {
    const path = join(folder, "boot");
    writeFileSync(path, content);
    expect(() => parseConfig(text(readBootFile(path)))).toThrow(new BootConfigIsInvalidError(problem));
  });
});

/** What user code can see of it. */
function readableOf(work: FirstWork): FirstWork {
  const path = join(folder, "other");
  writeFileSync(path, bootFileText(CONFIG, work));
  const { firstWork } = readBootFile(path);
  if (firstWork === undefined) throw new Error("there is no first work");
  return firstWork;
}
