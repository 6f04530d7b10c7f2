import { setImmediate as nextTurn } from "node:timers/promises";
import { afterEach, describe, expect, it } from "vitest";
import {
  BatchStartInvocationsRequest,
  ListInvocationsRequest,
} from "../../../gen/multinode/invocation/v1/invocation_service.pb.js";
import type { Db } from "../../platform/store/db.js";
import { openTestInvocations, type TestInvocations } from "../test_invocation.js";

const STARTED = 300;

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
