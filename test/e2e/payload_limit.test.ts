import { afterAll, beforeAll, expect, test } from "vitest";
import { MultinodeClient } from "../../sdk/typescript/src/client/client.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";
import { connectTarget, type DeployedProject, type Target } from "../harness/connected_target.js";
import type { RunningTarget } from "../harness/running_target.js";
import { startTarget } from "../harness/start_target.js";
import { openTarget } from "../harness/target.js";

const MAIN = `
  import { Multinode } from "multinode";
  export const mn = new Multinode();
  const many = { maxInvocationsPerWorker: 100, workerConcurrency: 4, memory: "1 GiB", maxRetries: 0 };
  export const echo = mn.function(many, (text: string) => text);
  export const grow = mn.function(many, async function* (...sizes: number[]) {
    for (const size of sizes) yield "y".repeat(size);
  });
  export const relay = mn.function(async (size: number) => (await echo.callRemote("r".repeat(size))).length);
`;

/** Characters of a text that is as large as a payload may be: its JSON has two quotation marks, a list of it two brackets. */
const LARGEST = LIMITS.payloadBytesMax - 4;

let running: RunningTarget;
let target: Target;
let client: MultinodeClient;
let project: DeployedProject;
beforeAll(async () => {
  await using shared = openTarget();
  running = await startTarget(shared.kind, { MULTINODE_MAX_PAYLOAD_BYTES: String(LIMITS.payloadBytesMax) });
  target = connectTarget(running);
  project = await target.deploy({ "main.ts": MAIN });
  client = new MultinodeClient({ ...running, maxPayloadBytes: LIMITS.payloadBytesMax });
});
afterAll(async () => {
  await client.close();
  await target.close();
  await running.stop();
});

const fn = <F>(functionName: string) => target.fn<F>(project.projectName, functionName, undefined, client);

test("inputs and results are as large as the server is told, several at once", async () => {
  const echo = fn<(text: string) => string>("echo");
  const letters = ["a", "b", "c", "d", "e"];
  const texts = letters.map((letter) => letter.repeat(LARGEST));
  const results: string[] = [];
  for await (const text of echo.map(texts)) results.push(text);
  expect(results.map((text) => [text[0], text.length])).toEqual(letters.map((letter) => [letter, LARGEST]));
  const { invocations } = await echo.list();
  expect(invocations).toHaveLength(texts.length);
  expect((await echo.get(invocations[0]?.id ?? "")).result).toHaveLength(LARGEST);
});

test("a yielded value is as large, and one that is larger fails the execution", async () => {
  const grow = fn<(...sizes: number[]) => AsyncGenerator<string>>("grow");
  expect(await grow.callRemote(10, LARGEST + 2)).toHaveLength(LARGEST + 2);
  await expect(grow.callRemote(10, LARGEST + 3)).rejects.toThrow(
    /is 4000001 bytes when encoded; the limit is 4000000 bytes/,
  );
});

test("a function calls others with as much as the server takes", async () => {
  expect(await fn<(size: number) => number>("relay").callRemote(LARGEST)).toBe(LARGEST);
});

test("a client that was not told refuses what is above the default, and the server what is above its own", async () => {
  const untold = project.fn<(text: string) => string>("echo");
  await expect(untold.start("x".repeat(LIMITS.payloadBytes))).rejects.toMatchObject({
    reason: "FunctionInputSizeLimitExceeded",
    metadata: { limit: "250000" },
  });
});
