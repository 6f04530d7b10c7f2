import { ClientError, Status } from "nice-grpc";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Refusal } from "./errors.js";
import { createLogger } from "./log.js";

let lines: Record<string, unknown>[];
const log = createLogger("test", "info", { write: (line) => void lines.push(JSON.parse(line)) });

beforeEach(() => {
  lines = [];
  vi.useFakeTimers();
});
afterEach(() => {
  vi.advanceTimersByTime(60_000); // what is remembered is forgotten
  vi.useRealTimers();
});

function away(path: string): Refusal {
  const refusal = new Refusal("Unavailable", `a service does not answer (${path})`);
  refusal.cause = new ClientError(path, Status.UNAVAILABLE, "connect ECONNREFUSED 127.0.0.1:1");
  return refusal;
}

it("says of a service that is away what and why, and no stack", () => {
  log.warn({ err: away("/a") }, "trying again");
  expect(lines).toMatchObject([{ msg: "trying again" }]);
  expect(lines[0]?.["err"]).toEqual({
    type: "Refusal",
    code: "Unavailable",
    message: "a service does not answer (/a): /a UNAVAILABLE: connect ECONNREFUSED 127.0.0.1:1",
  });
});

it("says the same again after a while, with how often it was meanwhile, and each kind by itself", () => {
  for (let i = 0; i < 100; i++) {
    log.warn({ err: away("/a"), i }, "trying again");
    log.warn({ err: away("/b") }, "trying again");
    log.warn({ err: new DOMException("too late", "TimeoutError") }, "trying again");
  }
  expect(lines).toHaveLength(3);
  vi.advanceTimersByTime(5_000);
  expect(lines.slice(3)).toMatchObject([{ i: 99, times: 99, msg: "trying again" }, { times: 99 }, { times: 99 }]);
  vi.advanceTimersByTime(5_000);
  expect(lines).toHaveLength(6);
  log.warn({ err: away("/a") }, "trying again");
  expect(lines).toHaveLength(7);
});

it("says all else each time, with its stack", () => {
  for (let i = 0; i < 3; i++) {
    log.warn({ err: new Error("a fault") }, "a fault");
    log.error({ err: away("/a") }, "it counts");
    log.info({ i }, "all is well");
    log.info("all is well");
  }
  expect(lines).toHaveLength(12);
  expect(lines[0]?.["err"]).toMatchObject({
    type: "Error",
    message: "a fault",
    stack: expect.stringContaining("log.test"),
  });
});
