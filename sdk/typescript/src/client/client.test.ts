import { once } from "node:events";
import { createServer } from "node:net";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { IdempotencyKeyReused, InvocationDoesNotExist, Unavailable } from "../errors.js";
import { FakeServer, unavailable } from "../testing/fake_server.js";
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

const anything = { projectName: "", functionName: "", versionId: "" };

describe("starts", () => {
  test("those of one moment travel together, in order, with the credential", async () => {
    const ids = await Promise.all(Array.from({ length: 1_500 }, (_, n) => client.start(request(n))));
    expect(server.batches).toStrictEqual([1_000, 500]);
    expect(new Set(ids).size).toBe(1_500);
    expect(server.starts.map(({ arguments: args }) => args?.positional?.data.toString()).slice(0, 2)).toStrictEqual([
      "[0]",
      "[1]",
    ]);
    expect([...server.credentials]).toStrictEqual(["Bearer key-1"]);
  });

  test("one goes at once; while it is on its way the next gather", async () => {
    let release: () => void = () => undefined;
    server.beforeBatch = () => new Promise<void>((resolve) => (release = resolve));
    const first = client.start(request(0));
    await vi.waitFor(() => expect(server.batches).toStrictEqual([1]));
    const later = [client.start(request(1))];
    await Promise.resolve();
    later.push(client.start(request(2)));
    server.beforeBatch = () => undefined;
    release();
    await Promise.all([first, ...later]);
    expect(server.batches).toStrictEqual([1, 2]);
  });

  test("large arguments are split at 4 MiB", async () => {
    const large = "x".repeat(200_000);
    await Promise.all(Array.from({ length: 40 }, () => client.start(request(large))));
    expect(server.batches).toStrictEqual([20, 20]);
  });

  test("each has its own outcome", async () => {
    server.refuse = ({ idempotencyKey }) => (idempotencyKey === "used" ? "IdempotencyKeyReused" : undefined);
    const good = client.start(request(1));
    const bad = client.start({ ...request(2), idempotencyKey: "used" });
    await expect(good).resolves.toMatch(/^inv-/);
    await expect(bad).rejects.toThrow(IdempotencyKeyReused);
    await expect(bad).rejects.toMatchObject({
      reason: "IdempotencyKeyReused",
      message: "refused: IdempotencyKeyReused",
    });
  });

  test("an answer that was lost is asked for again with the same request id", async () => {
    let failures = 2;
    server.beforeBatch = () => {
      failures -= 1;
      if (failures >= 0) throw unavailable();
    };
    await expect(client.start(request(1))).resolves.toMatch(/^inv-/);
    expect(server.requestIds).toHaveLength(3);
    expect(new Set(server.requestIds).size).toBe(1);
    expect(server.requestIds[0]).not.toBe("");
  });

  test("go to one replica, and to another after one that could not be reached", async () => {
    await client.start(request(1));
    await client.start(request(2));
    server.beforeBatch = () => {
      server.beforeBatch = () => undefined;
      throw unavailable();
    };
    await client.start(request(3));
    const [first, second, third, fourth] = server.affinities;
    expect(first).not.toBe("");
    expect([second, third]).toStrictEqual([first, first]);
    expect(fourth).not.toBe(first);
  });

  test("one that cannot be sent, whatever the reason, rejects and leaves the others of its moment alone", async () => {
    const bad = client.start({ ...request(1), projectName: undefined as never });
    const worse = client.start(undefined as never);
    const good = client.start(request(2));
    await expect(bad).rejects.toThrow(TypeError);
    await expect(worse).rejects.toThrow(TypeError);
    await expect(good).resolves.toMatch(/^inv-/);
    expect(server.batches).toStrictEqual([1]);
  });

  test("one whose outcome cannot be read rejects, and those behind it are told theirs", async () => {
    server.refuse = ({ idempotencyKey }) => (idempotencyKey === "used" ? "IdempotencyKeyReused" : undefined);
    server.refusalsAreDamaged = true;
    const bad = client.start({ ...request(1), idempotencyKey: "used" });
    const good = client.start(request(2));
    await expect(bad).rejects.toThrow("premature EOF");
    await expect(good).resolves.toMatch(/^inv-/);
    await expect(client.start(request(3))).resolves.toMatch(/^inv-/);
  });

  test("one that was given up before it was sent is not sent", async () => {
    let release: () => void = () => undefined;
    server.beforeBatch = () => new Promise<void>((resolve) => (release = resolve));
    const first = client.start(request(0));
    await vi.waitFor(() => expect(server.batches).toHaveLength(1));
    const abort = new AbortController();
    const second = client.start(request(1), abort.signal);
    const third = client.start(request(2));
    abort.abort(new Error("enough"));
    await expect(second).rejects.toThrow("enough");
    server.beforeBatch = () => undefined;
    release();
    await Promise.all([first, third]);
    expect(server.batches).toStrictEqual([1, 1]);
  });
});

describe("other calls", () => {
  test("get, cancel and list", async () => {
    const id = await client.start(request(1));
    server.change(id, { error: "Error: first", result: new Map([[1, 2n]]) });
    await expect(client.get(id, anything)).resolves.toMatchObject({
      id,
      status: "PENDING",
      result: new Map([[1, 2n]]),
      error: "Error: first",
      createdAt: new Date(1_000),
      startedAt: undefined,
      revision: 2,
    });
    await expect(client.cancel(id, anything)).resolves.toMatchObject({ status: "CANCELLED" });
    await expect(client.cancel(id, anything)).rejects.toMatchObject({ reason: "InvocationIsAlreadyTerminated" });
    const page = await client.list({
      projectName: "p",
      functionName: "f",
      versionId: "",
      statuses: ["PENDING"],
      parentInvocationId: "",
      createdFromMs: undefined,
      createdBeforeMs: undefined,
      pageSize: 0,
      offset: "",
    });
    expect(page).toMatchObject({ invocationIds: [id], offset: undefined });
  });

  test("a refusal is the class of its reason, with its metadata", async () => {
    const failed = client.get("inv-none", anything);
    await expect(failed).rejects.toThrow(InvocationDoesNotExist);
    await expect(failed).rejects.toMatchObject({ metadata: { invocationId: "inv-none" }, code: 5 });
  });

  test("an aborted signal rejects with its reason", async () => {
    const reason = new Error("stop");
    await expect(client.get("inv-none", anything, AbortSignal.abort(reason))).rejects.toBe(reason);
    await expect(client.start(request(1), AbortSignal.abort(reason))).rejects.toBe(reason);
    await expect(client.awaitFinished("inv-none", AbortSignal.abort(reason))).rejects.toBe(reason);
    expect(server.batches).toStrictEqual([]);
  });
});

describe("a replica that stands still", () => {
  beforeEach(async () => {
    await client.close();
    client = new MultinodeClient({ apiUrl: server.url, apiKey: "k", answerMs: 250, watch: { silenceMs: 1_000 } });
    // The first affinity of this client leads to it.
    let ill: string | undefined;
    server.standsStill = (affinity) => affinity === (ill ??= affinity);
  });

  test("is left by a start, which is not repeated by that", async () => {
    const id = await client.start(request(1));
    expect(server.requestIds).toHaveLength(2);
    expect(new Set(server.requestIds).size).toBe(1);
    expect(server.starts).toHaveLength(1);
    expect(new Set(server.affinities).size).toBe(2);
    await expect(client.get(id, anything)).resolves.toMatchObject({ id });
  });

  test("is left by a call that may be repeated", async () => {
    await expect(client.get("inv-none", anything)).rejects.toThrow(InvocationDoesNotExist);
  });

  test("is left by an open watch as soon as a call has found it silent", async () => {
    await using patient = new MultinodeClient({ apiUrl: server.url, apiKey: "k", answerMs: 50 });
    let isStill = false;
    let ill: string | undefined;
    server.standsStill = (affinity) => affinity === (ill ??= affinity) && isStill;
    const id = await patient.start(request(1));
    const end = patient.awaitFinished(id);
    await vi.waitFor(() => expect(server.openStreams).toBe(1));
    isStill = true;
    await patient.start(request(2));
    await vi.waitFor(() => expect(server.streamsOpened).toBe(2));
    server.succeed(id, "seen");
    await expect(end).resolves.toMatchObject({ status: "SUCCEEDED" });
  });

  test("is left once by all that waited for it", async () => {
    const seen = new Set<string>();
    const { standsStill } = server;
    server.standsStill = (affinity) => {
      seen.add(affinity);
      return standsStill(affinity);
    };
    const calls = Array.from({ length: 10 }, () => client.get("inv-none", anything));
    await Promise.allSettled(calls);
    expect(seen.size).toBe(2);
  });

  test("is not left by a watch that it still brings news to", async () => {
    await using patient = new MultinodeClient({ apiUrl: server.url, apiKey: "k", answerMs: 300 });
    let isStill = false;
    let ill: string | undefined;
    server.standsStill = (affinity) => affinity === (ill ??= affinity) && isStill;
    const [id, other] = [await patient.start(request(1)), await patient.start(request(2))];
    const ends = [id, other].map((each) => patient.awaitFinished(each));
    await vi.waitFor(() => expect(server.openStreams).toBe(1));
    isStill = true;
    const got = patient.get(id, anything);
    // The call is on its way before there is news.
    await vi.waitFor(() => expect(server.stillCalls).toBe(1));
    server.succeed(id, 1);
    await ends[0];
    await got;
    server.succeed(other, 2);
    await ends[1];
    expect(server.streamsOpened).toBe(1);
  });

  test("is left by a watch", async () => {
    const end = client.awaitFinished(`inv-${"0".repeat(26)}`);
    await expect(end).rejects.toThrow(InvocationDoesNotExist);
    expect(server.streamsOpened).toBe(2);
  });

  test("is not left by a client that wants no call repeated", async () => {
    await using patient = new MultinodeClient({ apiUrl: server.url, apiKey: "k", answerMs: 1, retryForMs: 0 });
    await expect(patient.get("inv-none", anything, AbortSignal.timeout(300))).rejects.toMatchObject({
      name: "TimeoutError",
    });
  });
});

describe("a server that cannot be reached", () => {
  test("is named, after the retries", async () => {
    server.stop();
    await using impatient = new MultinodeClient({ apiUrl: server.url, apiKey: "k", retryForMs: 300 });
    const failed = impatient.get("inv-1", anything);
    await expect(failed).rejects.toThrow(Unavailable);
    await expect(failed).rejects.toThrow(server.url);
  });

  test("is met again within the retries", async () => {
    const id = await client.start(request(1));
    server.stop();
    const found = client.get(id, anything);
    await server.listen();
    await expect(found).resolves.toMatchObject({ id });
  });

  test("a peer that never answers is given up on abort", async () => {
    const silent = createServer().listen(0, "127.0.0.1");
    await once(silent, "listening");
    const address = silent.address();
    const port = typeof address === "object" && address !== null ? address.port : 0;
    await using stuck = new MultinodeClient({ apiUrl: `http://127.0.0.1:${port}`, apiKey: "k" });
    await expect(stuck.get("inv-1", anything, AbortSignal.timeout(200))).rejects.toMatchObject({
      name: "TimeoutError",
    });
    silent.close();
  });

  test("a bad URL is refused where it is given", () => {
    for (const apiUrl of ["localhost:7411", "ftp://localhost", "http://localhost:7411/api", "http://localhost/?a=1"]) {
      const problem = `apiUrl: "${apiUrl}" must be a URL without a path`;
      expect(() => new MultinodeClient({ apiUrl, apiKey: "k" })).toThrow(problem);
    }
    expect(() => new MultinodeClient({ apiUrl: "http://localhost:7411/", apiKey: "k" })).not.toThrow();
  });
});
