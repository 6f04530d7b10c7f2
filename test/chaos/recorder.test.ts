import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type JournalLine, readJournal } from "./journal.js";
import { Recorder } from "./recorder.js";

const BOUND_MS = 5_000;

let folder: string;
let file: string;
let recorder: Recorder;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-recorder-"));
  file = join(folder, "journal.jsonl");
  recorder = await Recorder.open("127.0.0.1", file);
});
afterEach(async () => {
  await recorder.close();
  await rm(folder, { recursive: true });
});

function open(): Socket {
  const { hostname, port } = new URL(recorder.address);
  return connect(Number(port), hostname);
}

function say(line: Socket, event: JournalLine["event"], executionId: string): void {
  line.write(`${JSON.stringify({ event, executionId })}\n`);
}

const events = () => readJournal(file).map(({ event, executionId }) => `${event} ${executionId}`);

test("what is told is answered when it is written, and the end of a connection is written too", async () => {
  const line = open();
  say(line, "begin", "one");
  await once(line, "data");
  expect(events()).toEqual(["begin one"]);
  say(line, "end", "one");
  await once(line, "data");
  expect(recorder.running).toBe(1);
  line.resetAndDestroy(); // as a worker that is killed may end
  await recorder.untilRunning((running) => running === 0, BOUND_MS);
  expect(events()).toEqual(["begin one", "end one", "gone one"]);
});

test("an end that came before a beginning is written before it", async () => {
  for (let round = 0; round < 50; round++) {
    const [old, young] = [open(), open()];
    await Promise.all([once(old, "connect"), once(young, "connect")]);
    say(old, "begin", `old ${round}`);
    await once(old, "data");
    old.destroy();
    await once(old, "close");
    say(young, "begin", `young ${round}`);
    await once(young, "data");
    young.destroy();
    await recorder.untilRunning((running) => running === 0, BOUND_MS);
    const own = events().filter((event) => event.endsWith(` ${round}`));
    expect(own).toEqual([`begin old ${round}`, `gone old ${round}`, `begin young ${round}`, `gone young ${round}`]);
  }
});

test("holds what begins until it is released", async () => {
  recorder.hold();
  const line = open();
  let answers = 0;
  line.on("data", () => {
    answers += 1;
  });
  say(line, "begin", "one");
  await recorder.untilRunning((running) => running === 1, BOUND_MS);
  expect(answers).toBe(0);
  recorder.release();
  await once(line, "data");
  line.destroy();
});
