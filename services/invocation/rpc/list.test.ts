import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import { AppendLogsRequest, type LeasedExecution } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import {
  BatchStartInvocationsRequest,
  ListInvocationsRequest,
  ListInvocationsResponse,
} from "../../../gen/multinode/invocation/v1/invocation_service.pb.js";
import {
  FollowLogsRequest,
  FollowLogsResponse,
  ListLogsRequest,
  ListLogsResponse,
  type LogLine,
  LogStream,
} from "../../../gen/multinode/invocation/v1/log_service.pb.js";
import type { Db } from "../../platform/store/db.js";
import { openTestInvocations, reports, type TestInvocations } from "../test_invocation.js";

const STARTED = 300;
/** What clients of gRPC take where nothing else is set. */
const MOST = 4 * 1024 * 1024;

let test: TestInvocations;
/** Of the reads of a listing, each with the turn of the event loop in which it began. */
let readIn: number[] = [];
let turn = 0;
let onRead = () => {};

/** Counts reads, and the turns that others have between them. */
async function open(): Promise<void> {
  test = await openTestInvocations(
    (db): Db => ({
      read: (work) => {
        readIn.push(turn);
        onRead();
        return db.read(work);
      },
      peek: (work) => db.peek(work),
      write: (work, options) => db.write(work, options),
      clock: db.clock,
      close: () => db.close(),
    }),
  );
  test.catalog.add("f");
  const requests = Array.from({ length: STARTED }, () => test.startRequest("f"));
  await test.client.batchStartInvocations(BatchStartInvocationsRequest.fromPartial({ requestId: "r", requests }));
  readIn = [];
}

afterEach(async () => {
  onRead = () => {};
  await test.close();
});

function list(signal?: AbortSignal) {
  const { projectName } = test.catalog;
  const request = ListInvocationsRequest.fromPartial({ projectName, pageSize: 1_000 });
  return test.client.listInvocations(request, signal === undefined ? {} : { signal });
}

describe("a page of a listing", () => {
  it("is read in parts, between which others have their turn", async () => {
    await open();
    let isOver = false;
    const counting = (async () => {
      for (; !isOver; turn += 1) await nextTurn();
    })();
    const page = await list();
    isOver = true;
    await counting;
    expect([page.invocations?.length, page.nextOffset]).toEqual([STARTED, ""]);
    expect(readIn.length).toBeGreaterThan(1);
    expect(new Set(readIn).size).toBe(readIn.length);
  });

  it("is not read further when its call is given up", async () => {
    await open();
    const call = new AbortController();
    onRead = () => call.abort();
    await expect(list(call.signal)).rejects.toMatchObject({ name: "AbortError" });
    expect(readIn).toHaveLength(1);
  });
});

/** Three bytes each in a message. */
const WIDE = "\u4e2d";

async function leaseOf(id: string, options: Parameters<typeof reports.threw>[1]): Promise<LeasedExecution> {
  const leased = await test.leaseOne(test.ids.next("sch"));
  expect(leased.ref?.invocationId).toBe(id);
  await test.report(reports.threw(leased, options));
  return leased;
}

describe("what clients of gRPC take at once", () => {
  it("bounds a page of a listing, however many were asked for", async () => {
    test = await openTestInvocations();
    test.catalog.add("f");
    const ids: string[] = [];
    for (let count = 0; count < 90; count += 1) {
      const id = await test.start("f");
      ids.unshift(id);
      await leaseOf(id, { error: WIDE.repeat(16_000), released: true });
    }
    const listed: string[] = [];
    let offset = "";
    do {
      const request = { projectName: test.catalog.projectName, pageSize: 1_000, offset };
      const page = await test.client.listInvocations(ListInvocationsRequest.fromPartial(request));
      expect(ListInvocationsResponse.encode(page as ListInvocationsResponse).finish().byteLength).toBeLessThan(MOST);
      listed.push(...(page.invocations ?? []).map(({ invocationId }) => String(invocationId)));
      offset = page.nextOffset ?? "";
    } while (offset !== "");
    expect(listed).toEqual(ids);
  });

  it("bounds a page of a log, and a message of one that is followed", async () => {
    test = await openTestInvocations();
    test.catalog.add("f", { maxRetries: 3, retryDelay: { initialMs: 0 } });
    const id = await test.start("f");
    for (let attempt = 1; attempt <= 4; attempt += 1) {
      const { ref } = await leaseOf(id, { released: true });
      const lines = Array.from({ length: 60 }, (_, index) => ({
        executionId: ref?.executionId ?? "",
        lineNumber: index + 1,
        text: WIDE.repeat(16_000),
        stream: LogStream.STDOUT,
      }));
      await test.dispatch.appendLogs(AppendLogsRequest.fromPartial({ lines }));
    }
    const { logs } = test.service;
    const call = { signal: AbortSignal.timeout(5_000), principal: { kind: "key", projectName: "" } } as never;
    const listed: string[] = [];
    let offset = "";
    do {
      const request = ListLogsRequest.fromPartial({ invocationId: id, pageSize: 1_000, offset });
      const page = ListLogsResponse.fromPartial(await logs.listLogs(request, call));
      expect(ListLogsResponse.encode(page).finish().byteLength).toBeLessThan(MOST);
      listed.push(...page.lines.map(placeOf));
      offset = page.nextOffset;
    } while (offset !== "");
    expect(new Set(listed).size).toBe(240);
    const followed: string[] = [];
    for await (const part of logs.followLogs(FollowLogsRequest.fromPartial({ invocationId: id }), call)) {
      const message = FollowLogsResponse.fromPartial(part);
      expect(FollowLogsResponse.encode(message).finish().byteLength).toBeLessThan(MOST);
      followed.push(...message.lines.map(placeOf));
    }
    expect(followed).toEqual(listed);
  });
});

const placeOf = ({ executionId, lineNumber }: LogLine) => `${executionId} ${lineNumber}`;
