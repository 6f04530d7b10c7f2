import { expect, test } from "vitest";
import type { Invocation } from "../invocation.js";
import { QuietFailure } from "./command_error.js";
import type { Io } from "./io.js";
import { watchInvocation } from "./watch_invocation.js";

const ERROR = "Error: too many";

test("each change is a line once, and a second attempt shows its own progress", async () => {
  const lines: string[] = [];
  const stdout = { write: (text: string) => void lines.push(text.trimEnd()), isTerminal: false, columns: 80 };
  const io: Io = { stdout, stderr: stdout, env: {}, signal: new AbortController().signal, ask: undefined };
  const changes: Pick<Invocation, "status" | "result" | "error">[] = [
    { status: "RUNNING", result: 1, error: undefined },
    { status: "PENDING", result: 1, error: ERROR },
    { status: "PENDING", result: 1, error: ERROR },
    { status: "RUNNING", result: 2, error: ERROR },
    { status: "FAILED", result: 2, error: ERROR },
  ];
  const client = {
    async *watch() {
      for (const change of changes) yield change as Invocation;
    },
  };
  await expect(watchInvocation(io, client, "inv-", { json: false, until: "finished" })).rejects.toThrow(QuietFailure);
  expect(lines.map((line) => line.replace(/^[\d:.]+ {2}/, ""))).toEqual([
    "RUNNING  result 1",
    `PENDING  error ${ERROR}`,
    "RUNNING  result 2",
    `FAILED  error ${ERROR}`,
  ]);
});
