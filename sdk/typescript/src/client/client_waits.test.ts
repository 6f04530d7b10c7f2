import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { Status } from "../../../../gen/multinode/invocation/v1/invocation.pb.js";
import { InvocationDoesNotExist, ParameterValidationError, PermissionDenied } from "../errors.js";
import { FakeServer } from "../testing/fake_server.js";
import { startRequest as request } from "../testing/start_request.js";
import { MultinodeClient } from "./client.js";

let server: FakeServer;
let client: MultinodeClient;

beforeEach(async () => {
  server = new FakeServer();
  await server.listen();
  client = new MultinodeClient({ apiUrl: server.url, apiKey: "key-1" });
});

afterEach(async () => {
  await client.close();
  server.stop();
});

describe("waits", () => {
  test("share one stream, and a batch of starts is one message on it", async () => {
    server.autoFinish = ([n]) => ({ status: 4, terminated: true, result: n });
    const results = await Promise.all(
      Array.from({ length: 300 }, async (_, n) => (await client.awaitFinished(await client.start(request(n)))).result),
    );
    expect(results).toStrictEqual(Array.from({ length: 300 }, (_, n) => n));
    expect(server.streamsOpened).toBe(1);
    expect(server.watchRequests.length).toBeLessThanOrEqual(3);
  });

  test("are as many as one likes: what one stream cannot follow at once it follows later", async () => {
    await using small = new MultinodeClient({ apiUrl: server.url, apiKey: "k", watch: { mostFollowed: 3 } });
    const ids = await Promise.all(Array.from({ length: 8 }, (_, n) => small.start(request(n))));
    const ends = ids.map((id) => small.awaitFinished(id));
    const followed = () => {
      const open = new Set<string>();
      let most = 0;
      for (const { add, remove } of server.watchRequests) {
        for (const id of remove) open.delete(id);
        for (const { invocationId } of add) open.add(invocationId);
        most = Math.max(most, open.size);
      }
      return { open, most };
    };
    await vi.waitFor(() => expect(followed().open.size).toBe(3));
    const abort = new AbortController();
    const given = small.awaitFinished(ids[0] ?? "", abort.signal);
    for (const id of ids.toReversed()) server.succeed(id, 1);
    expect((await Promise.all(ends)).map(({ result }) => result)).toStrictEqual(ids.map(() => 1));
    await given;
    expect(new Set(server.watchRequests.flatMap(({ add }) => add.map(({ invocationId }) => invocationId))).size).toBe(
      8,
    );
    expect(server.streamsOpened).toBe(1);
  });

  test("that wait for room may leave, and make room when they do", async () => {
    await using small = new MultinodeClient({ apiUrl: server.url, apiKey: "k", watch: { mostFollowed: 1 } });
    const ids = await Promise.all([1, 2, 3].map((n) => small.start(request(n))));
    const aborts = ids.map(() => new AbortController());
    const ends = ids.map((id, index) => small.awaitFinished(id, aborts[index]?.signal));
    const outcomes = Promise.allSettled(ends);
    await vi.waitFor(() => expect(server.watchRequests.length).toBe(1));
    aborts[1]?.abort(new Error("enough"));
    aborts[0]?.abort(new Error("enough"));
    await vi.waitFor(() => expect(server.watchRequests.flatMap(({ add }) => add).at(-1)?.invocationId).toBe(ids[2]));
    server.succeed(ids[2] ?? "", 3);
    expect((await outcomes).map(({ status }) => status)).toStrictEqual(["rejected", "rejected", "fulfilled"]);
    expect(server.watchRequests.flatMap(({ add }) => add)).toHaveLength(2);
  });

  test("of one invocation share one target, which grows with what is asked", async () => {
    const id = await client.start(request(1));
    const ends = [client.awaitFinished(id), client.awaitFinished(id)];
    const states: string[] = [];
    const watching = (async () => {
      for await (const state of client.watch(id, "terminated")) states.push(`${state.status} ${state.terminated}`);
    })();
    await vi.waitFor(() => expect(states).toStrictEqual(["PENDING false"]));
    server.change(id, { status: 4, result: 7 });
    for (const end of ends) await expect(end).resolves.toMatchObject({ result: 7, terminated: false });
    const late = client.awaitFinished(id);
    await expect(late).resolves.toMatchObject({ result: 7 });
    server.change(id, { terminated: true });
    await watching;
    expect(states).toStrictEqual(["PENDING false", "SUCCEEDED false", "SUCCEEDED true"]);
    expect(server.streamsOpened).toBe(1);
  });

  test("go on from the last revision when the server comes back", async () => {
    const [watched, awaited] = [await client.start(request(1)), await client.start(request(2))];
    const revisions: number[] = [];
    const watching = (async () => {
      for await (const state of client.watch(watched, "finished")) revisions.push(state.revision);
    })();
    const end = client.awaitFinished(awaited);
    server.change(watched, { status: 2 });
    await vi.waitFor(() => expect(revisions.at(-1)).toBe(2));
    server.stop();
    const before = server.watchRequests.length;
    server.change(awaited, { status: 4, terminated: true, result: "there" });
    await server.listen();
    await expect(end).resolves.toMatchObject({ result: "there" });
    const resumed = server.watchRequests[before]?.add.find(({ invocationId }) => invocationId === watched);
    expect(resumed?.afterRevision).toBe(2);
    server.succeed(watched, 1);
    await watching;
    expect(revisions).toStrictEqual([...new Set(revisions)].toSorted((a, b) => a - b));
    expect(revisions.at(-1)).toBe(3);
  });

  test("a slow reader is given the newest of the yielded values, and the last state always", async () => {
    const id = await client.start(request(1));
    const seen: unknown[] = [];
    for await (const state of client.watch(id, "finished")) {
      seen.push(state.result);
      if (seen.length > 1) continue;
      for (let n = 1; n <= 50; n += 1) server.change(id, { result: n });
      // The reader is busy until all 50 have come.
      const other = await client.start(request(2));
      server.succeed(other, 0);
      await client.awaitFinished(other);
      server.succeed(id, "end");
    }
    expect(seen.length).toBeLessThanOrEqual(3);
    expect(seen.at(-1)).toBe("end");
  });

  test("a slow reader is given every status, however many changes there were", async () => {
    const id = await client.start(request(1));
    const arrived = async () => {
      const other = await client.start(request(2));
      server.succeed(other, 0);
      await client.awaitFinished(other);
    };
    const seen: unknown[] = [];
    for await (const { status, numFailedAttempts, result } of client.watch(id, "finished")) {
      seen.push([status, numFailedAttempts, result]);
      if (seen.length > 1) continue;
      // The reader is busy until all of this has come.
      for (const change of [
        { status: Status.RUNNING },
        { status: Status.PENDING, numFailedAttempts: 1 },
        { status: Status.RUNNING },
        { result: 1 },
        { result: 2 },
      ]) {
        server.change(id, change);
        await arrived();
      }
      server.succeed(id, "end");
    }
    expect(seen).toEqual([
      ["PENDING", 0, undefined],
      ["RUNNING", 0, undefined],
      ["PENDING", 1, undefined],
      ["RUNNING", 1, 2],
      ["SUCCEEDED", 1, "end"],
    ]);
  });

  test("one that does not exist is refused, the others stay", async () => {
    const id = await client.start(request(1));
    const good = client.awaitFinished(id);
    await expect(client.awaitFinished(`inv-${"0".repeat(26)}`)).rejects.toThrow(InvocationDoesNotExist);
    server.succeed(id, 1);
    await expect(good).resolves.toMatchObject({ result: 1 });
  });

  test("one whose id is none is refused, the others stay", async () => {
    const id = await client.start(request(1));
    const good = client.awaitFinished(id);
    const bad = { reason: "ParameterValidationError", violations: [{ field: "invocationId" }] };
    await expect(client.awaitFinished("inv-typo")).rejects.toMatchObject(bad);
    server.succeed(id, 1);
    await expect(good).resolves.toMatchObject({ result: 1 });
    await expect(client.watch("", "finished").next()).rejects.toMatchObject(bad);
  });

  test("a refusal of what is asked for, which no new stream mends, fails them all", async () => {
    server.refuseWatches = "ParameterValidationError";
    await expect(client.awaitFinished(await client.start(request(1)))).rejects.toThrow(ParameterValidationError);
    expect(server.streamsOpened).toBe(1);
  });

  test("a credential that may not watch fails them all", async () => {
    server.refuseWatches = "PermissionDenied";
    const id = await client.start(request(1));
    await expect(client.awaitFinished(id)).rejects.toThrow(PermissionDenied);
    expect(server.streamsOpened).toBe(1);
  });

  test("an abort stops the waiting, tells the server, and leaves the invocation alone", async () => {
    const id = await client.start(request(1));
    const keeper = client.awaitFinished(await client.start(request(2)));
    keeper.catch(() => undefined);
    const abort = new AbortController();
    const end = client.awaitFinished(id, abort.signal);
    await vi.waitFor(() => expect(server.watchRequests.flatMap(({ add }) => add)).toHaveLength(2));
    const reason = new Error("enough");
    abort.abort(reason);
    await expect(end).rejects.toBe(reason);
    await vi.waitFor(() => expect(server.watchRequests.flatMap(({ remove }) => remove)).toStrictEqual([id]));
    expect(server.cancelled).toStrictEqual([]);
  });

  test("the stream ends in order when nothing is watched, and is opened again", async () => {
    await client.close();
    client = new MultinodeClient({ apiUrl: server.url, apiKey: "k", watch: { idleMs: 20 } });
    server.autoFinish = () => ({ status: 4, terminated: true });
    await client.awaitFinished(await client.start(request(1)));
    await vi.waitFor(() => expect(server.openStreams).toBe(0));
    await client.awaitFinished(await client.start(request(2)));
    expect(server.streamsOpened).toBe(2);
    await vi.waitFor(() => expect([server.openStreams, server.openStartStreams]).toEqual([0, 0]));
    expect(server.streamsBroken).toBe(0);
  });

  test("what is watched in the moment in which the stream ends is followed on the next one", async () => {
    await client.close();
    client = new MultinodeClient({ apiUrl: server.url, apiKey: "k", watch: { idleMs: 0 } });
    server.autoFinish = () => ({ status: 4, terminated: true });
    for (let n = 0; n < 50; n += 1) {
      const id = await client.start(request(n));
      await client.awaitFinished(id);
      await new Promise(setImmediate);
    }
    expect(server.streamsBroken).toBe(0);
  });

  test("a silent stream is replaced", async () => {
    await client.close();
    client = new MultinodeClient({ apiUrl: server.url, apiKey: "k", watch: { silenceMs: 50, firstReconnectMs: 1 } });
    const end = client.awaitFinished(await client.start(request(1)));
    end.catch(() => undefined);
    await vi.waitFor(() => expect(server.streamsOpened).toBeGreaterThan(1));
  });

  test("closing the client fails what is pending", async () => {
    const end = client.awaitFinished(await client.start(request(1)));
    await client.close();
    await expect(end).rejects.toThrow(/closed/);
    await expect(client.start(request(1))).rejects.toThrow(/closed/);
  });
});
