import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { EngineTurns } from "./docker_turns.js";

/** Work that ends when it is told to. */
function piece(log: string[], name: string) {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const work = () => {
    log.push(`${name} begins`);
    return promise;
  };
  return { work, end: () => resolve(name), fail: () => reject(new Error(name)) };
}

describe("starts", () => {
  it("run a few at once, the others after them in order, also when one fails", async () => {
    const log: string[] = [];
    const turns = new EngineTurns(2, 60_000);
    const pieces = ["a", "b", "c", "d"].map((name) => piece(log, name));
    const results = Promise.allSettled(pieces.map(({ work }) => turns.start(work)));
    await turn();
    expect(log).toEqual(["a begins", "b begins"]);
    pieces[1]?.fail();
    await turn();
    expect(log).toEqual(["a begins", "b begins", "c begins"]);
    for (const { end } of pieces) end();
    expect((await results).map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled", "fulfilled"]);
    expect(log.at(-1)).toBe("d begins");
  });
});

describe("what is not urgent", () => {
  it("waits for the starts, and not where there is none", async () => {
    const log: string[] = [];
    const turns = new EngineTurns(2, 60_000);
    await turns.quiet();
    const one = piece(log, "a");
    const started = turns.start(one.work);
    const quiet = turns.quiet().then(() => log.push("quiet"));
    await turn();
    expect(log).toEqual(["a begins"]);
    one.end();
    await Promise.all([started, quiet]);
    expect(log).toEqual(["a begins", "quiet"]);
  });

  it("waits no longer than it must, while starts never end", async () => {
    const turns = new EngineTurns(1, 1);
    void turns.start(() => new Promise(() => {}));
    await turns.quiet();
  });
});
