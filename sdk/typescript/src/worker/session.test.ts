import { expect, test } from "vitest";
import type { WorkerEvent } from "../../../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { encode } from "../values/codec.js";
import { Session } from "./session.js";

const returned = { kind: "returned", value: undefined } as const;

/** Short form of events: "started a", "yielded a 2=20", "ended a returned". */
function brief(events: readonly WorkerEvent[]): string[] {
  return events.map(({ event }) => {
    switch (event?.$case) {
      case "started":
        return `started ${event.value.executionId}`;
      case "yielded":
        return `yielded ${event.value.executionId} ${event.value.index}=${event.value.value?.data.toString()}`;
      case "ended":
        return `ended ${event.value.executionId} ${event.value.result?.$case}${event.value.started ? ", started" : ""}`;
      case "hello":
      case "status":
      case "logs":
      case "leaving":
      case undefined:
        return event?.$case ?? "";
    }
  });
}

function running(...ids: string[]): Session {
  const session = new Session("wrk-1", "test");
  for (const id of ids) session.assign(id, `token-${id}`);
  session.began(ids);
  session.takeStarts();
  return session;
}

test("says a start before what follows it, or with the end", () => {
  const session = new Session("wrk-1", "test");
  for (const id of ["a", "b", "c", "d"]) session.assign(id, "t");
  expect(session.takeStarts()).toEqual([]);
  session.began(["a", "b", "c", "unknown"]);
  expect(brief(session.yielded("a", 1, encode(1)))).toEqual(["started a", "yielded a 1=1"]);
  expect(brief(session.ended("b", returned, false))).toEqual(["ended b returned, started"]);
  expect(brief(session.takeStarts())).toEqual(["started c"]);
  expect(session.takeStarts()).toEqual([]);
  expect(brief(session.ended("c", returned, false))).toEqual(["ended c returned"]);
  expect(brief(session.ended("d", returned, false))).toEqual(["ended d returned"]);
});

test("says each start again on another connection, apart or with the end", () => {
  const session = new Session("wrk-1", "test");
  for (const id of ["a", "b"]) session.assign(id, "t");
  session.began(["a", "b"]);
  session.ended("b", returned, false);
  expect(brief(session.resend())).toEqual(["started a", "ended b returned, started"]);
  expect(session.takeStarts()).toEqual([]);
  expect(brief(session.ended("a", returned, false))).toEqual(["ended a returned"]);
});

test("sends one yielded value at a time and merges the others into the newest", () => {
  const session = running("a");
  expect(brief(session.yielded("a", 1, encode(10)))).toEqual(["yielded a 1=10"]);
  expect(session.yielded("a", 2, encode(20))).toEqual([]);
  expect(session.yielded("a", 3, encode(30))).toEqual([]);
  expect(brief(session.acknowledgeYielded(["a", "unknown"]))).toEqual(["yielded a 3=30"]);
  expect(session.acknowledgeYielded(["a"])).toEqual([]);
  expect(brief(session.yielded("a", 4, encode(40)))).toEqual(["yielded a 4=40"]);
});

test("sends the last yielded value before the end", () => {
  const session = running("a");
  session.yielded("a", 1, encode(10));
  session.yielded("a", 2, encode(20));
  expect(brief(session.ended("a", returned, false))).toEqual(["yielded a 2=20", "ended a returned"]);
  expect(session.yielded("a", 3, encode(30))).toEqual([]);
  expect(session.ended("a", { kind: "threw", error: "late" }, false)).toEqual([]);
  // That of the first one says nothing of the second.
  expect(session.acknowledgeYielded(["a"])).toEqual([]);
  expect(brief(session.resend())).toEqual(["started a", "yielded a 2=20", "ended a returned"]);
});

test("brings what it holds to another connection until the end is acknowledged", () => {
  const session = running("a", "b", "c");
  session.yielded("b", 1, encode(1));
  session.yielded("b", 2, encode(2));
  session.ended("c", returned, false);
  expect(session.hello().event).toMatchObject({
    value: {
      executions: [
        { executionId: "a", executionToken: "token-a" },
        { executionId: "b", executionToken: "token-b" },
        { executionId: "c", executionToken: "token-c" },
      ],
    },
  });
  expect(brief(session.resend())).toEqual(["started a", "started b", "yielded b 2=2", "started c", "ended c returned"]);
  expect(session.runningIds()).toEqual(["a", "b"]);
  session.acknowledgeEnded(["a", "c"]);
  expect(brief(session.resend())).toEqual(["started a", "started b", "yielded b 2=2"]);
});

test("does not run an execution twice", () => {
  const session = running("a");
  expect(session.assign("a", "t")).toEqual({ begins: false, events: [] });
  session.ended("a", returned, false);
  const again = session.assign("a", "t");
  expect(again.begins).toBe(false);
  expect(brief(again.events)).toEqual(["ended a returned"]);
});

test("says on each connection that it is about to end, and begins nothing more", () => {
  const session = new Session("wrk-1", "test");
  session.assign("a", "t");
  session.began(["a"]);
  expect(brief(session.leave())).toEqual(["started a", "leaving"]);
  expect(session.assign("b", "t")).toEqual({ begins: false, events: [] });
  expect(brief(session.resend())).toEqual(["leaving", "started a"]);
  expect(session.runningIds()).toEqual(["a", "b"]);
});

test("ends what never began only where nothing ever did", () => {
  const unbegun = new Session("wrk-1", "test");
  unbegun.assign("a", "t");
  expect(brief(unbegun.endAll("OutOfMemoryError: x"))).toEqual(["ended a threw"]);
  const session = running("a");
  session.assign("b", "t");
  expect(brief(session.endAll("OutOfMemoryError: x"))).toEqual(["ended a threw"]);
});

test("ends everything that runs", () => {
  const session = running("a", "b");
  session.ended("a", returned, false);
  expect(brief(session.endAll("OutOfMemoryError: x"))).toEqual(["ended b threw"]);
});
