import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type LogLine, LogStream } from "../../gen/multinode/invocation/v1/log_service.pb.js";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { eventually, untilTerminated } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { execFileSync, spawn } from "node:child_process";
  import { getContext, Multinode } from "multinode";
  import { passGate } from "./gate.js";
  export const mn = new Multinode();
  export const prints = mn.function(() => {
    console.log("one");
    console.error("two");
    process.stdout.write("thr");
    process.stdout.write("ee\\nfour\\n");
    getContext().logger.warn("five", { field: 5 });
    getContext().logger.info("six");
  });
  export const child = mn.function(async () => {
    const child = spawn("sh", ["-c", "echo from the child; echo and its error >&2"], { stdio: "inherit" });
    await new Promise((resolve) => child.once("exit", resolve));
  });
  export const many = mn.function((lines: number, length: number) => {
    for (let i = 1; i <= lines; i += 1) console.log("x".repeat(length) + i);
  });
  export const slowly = mn.function(async (gate: string) => {
    console.log("before");
    await passGate(gate);
    console.log("after");
  });
  export const attempts = mn.function({ maxRetries: 1 }, () => {
    console.log("attempt " + getContext().attemptNumber);
    if (getContext().attemptNumber === 1) throw new Error("first");
  });
  export const sideBySide = mn.function({ maxInvocationsPerWorker: 10, workerConcurrency: 10 }, async (gate: string, me: string) => {
    console.log("begin " + me);
    await passGate(gate);
    console.log("end " + me);
  });
`;

let target: Target;
let project: DeployedProject;
const gates = await Gates.open();
beforeAll(async () => {
  target = openTarget();
  project = await target.deploy({ "main.ts": MAIN, "gate.ts": GATE_SOURCE });
});
afterAll(async () => {
  gates.close();
  await target.close();
});

async function linesOf(invocationId: string, executionId = ""): Promise<LogLine[]> {
  const lines: LogLine[] = [];
  let offset = "";
  do {
    const page = await target.client.logs.listLogs({ invocationId, executionId, offset });
    lines.push(...page.lines);
    offset = page.nextOffset;
  } while (offset !== "");
  return lines;
}

async function logOf(name: string, ...args: unknown[]): Promise<LogLine[]> {
  const fn = project.fn(name);
  const id = await fn.start(...args);
  await untilTerminated(fn, id);
  return linesOf(id);
}

describe.concurrent("logs", () => {
  test("console, standard streams and the logger, in order, with stream, level and time", async () => {
    const before = Date.now();
    const lines = await logOf("prints");
    expect(lines.map(({ stream, text, level }) => [stream, text, level])).toEqual([
      [LogStream.STDOUT, "one", ""],
      [LogStream.STDERR, "two", ""],
      [LogStream.STDOUT, "three", ""],
      [LogStream.STDOUT, "four", ""],
      [LogStream.LOGGER, 'five {"field":5}', "warn"],
      [LogStream.LOGGER, "six", "info"],
    ]);
    expect(lines.map(({ lineNumber }) => lineNumber)).toEqual([1, 2, 3, 4, 5, 6]);
    for (const { timeMs } of lines) expect(timeMs).toBeGreaterThanOrEqual(before);
  });

  test("the output of child processes", async () => {
    const fn = project.fn("child");
    const id = await fn.start();
    await untilTerminated(fn, id);
    const lines = await eventually(
      () => linesOf(id),
      ({ length }) => length >= 2,
    );
    expect(lines.map(({ text }) => text).toSorted()).toEqual(["and its error", "from the child"]);
  });

  test("a log is bounded, and its last line says so", async () => {
    const lines = await logOf("many", 12_000, 5);
    expect(lines).toHaveLength(10_000);
    expect(lines.at(-1)).toMatchObject({ stream: LogStream.SYSTEM, text: expect.stringContaining("log cut") });
    expect(lines[0]?.text).toBe("xxxxx1");
  });

  test("a long line is cut with a mark", async () => {
    const [line] = await logOf("many", 1, 20_000);
    expect(line?.text.length).toBeLessThanOrEqual(16_384);
    expect(line?.text).toMatch(/\[cut: \d+ characters\]$/);
  });

  test("follow sends the lines there are, then each new one, and ends when it is terminated", async () => {
    const fn = project.fn("slowly");
    const gate = gates.place();
    const invocationId = await fn.start(gate);
    const texts: string[] = [];
    const signal = AbortSignal.timeout(20_000);
    for await (const { lines } of target.client.logs.followLogs({ invocationId }, { signal })) {
      texts.push(...lines.map(({ text }) => text));
      if (texts.includes("before")) gates.open(gate);
    }
    expect(texts).toEqual(["before", "after"]);
    expect((await fn.get(invocationId)).terminated).toBe(true);
  });

  test("each execution has its own lines", async () => {
    const fn = project.fn("attempts");
    const id = await fn.start();
    const { executions } = await untilTerminated(fn, id);
    const [first = [], second = []] = await Promise.all(executions.map((execution) => linesOf(id, execution.id)));
    expect(first[0]?.text).toBe("attempt 1");
    expect(second.map(({ text }) => text)).toEqual(["attempt 2"]);
    const all = await linesOf(id);
    expect(all.map(({ executionId }) => executionId)).toEqual(
      [...first, ...second].map(({ executionId }) => executionId),
    );
  });

  test("executions side by side in one worker do not mix their lines", async () => {
    const fn = project.fn("sideBySide");
    const gate = gates.place();
    const ids = await Promise.all(["a", "b", "c"].map((me) => fn.start(gate, me)));
    await eventually(
      async () => (await Promise.all(ids.map((id) => linesOf(id)))).map(({ length }) => length),
      (lengths) => lengths.every((length) => length === 1),
    );
    gates.open(gate);
    await Promise.all(ids.map((id) => untilTerminated(fn, id)));
    const texts = await Promise.all(ids.map(async (id) => (await linesOf(id)).map(({ text }) => text)));
    expect(texts).toEqual(["a", "b", "c"].map((me) => [`begin ${me}`, `end ${me}`]));
  });
});
