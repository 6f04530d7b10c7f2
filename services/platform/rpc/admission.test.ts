/** What a server reads of calls, and for how long, told frame by frame by clients that are up to no good. */
import { once } from "node:events";
import { type ClientHttp2Session, type ClientHttp2Stream, connect, type IncomingHttpHeaders } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";
import { HealthDefinition, HealthServiceImpl, HealthState } from "nice-grpc-server-health";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Status as RpcStatus } from "../../../gen/google/rpc/status.pb.js";
import { TeardownServiceDefinition } from "../../../gen/multinode/invocation/v1/teardown_service.pb.js";
import { WorkerServiceDefinition } from "../../../gen/multinode/scheduler/v1/worker_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { badFields, outcomeOf, summary } from "../../../test/harness/raw_call.js";
import { createLogger } from "../log.js";
import type { Authority, Principal } from "./principal.js";
import { createRpcServer } from "./server.js";

const MIB = 1024 * 1024;
const CHUNK = Buffer.alloc(MIB);
const ARRIVAL_MS = 200;
const TEARDOWN = TeardownServiceDefinition.fullName;
const WORKER = WorkerServiceDefinition.fullName;
const CANCEL = `/${TEARDOWN}/CancelProject`;
const CONNECT = `/${WORKER}/Connect`;
const KEY_INVALID = "UNAUTHENTICATED ApiKeyIsInvalid";

let connection: ClientHttp2Session;
let close: () => void;
let callers: Principal[];
/** Messages of an answer that has no end. */
let made: number;
let log: ReturnType<typeof createLogger>;

const authority: Authority = async (token) => {
  if (token === "broken") throw new Error("secret of the house");
  if (token === "service") return { kind: "service" };
  return token.startsWith("worker-") ? { kind: "worker", workerId: token } : undefined;
};

beforeEach(async () => {
  callers = [];
  made = 0;
  log = createLogger("test", "silent");
  const server = createRpcServer({
    log,
    authorities: [authority],
    access: { [TEARDOWN]: { kinds: ["service", "worker"] }, [WORKER]: { kinds: ["worker"] } },
    stopping: new AbortController().signal,
    requestArrivalMs: ARRIVAL_MS,
  });
  const note = async (_: object, { principal }: { principal: Principal }) => {
    callers.push(principal);
    return {};
  };
  server.add(TeardownServiceDefinition, { cancelProject: note, purgeProject: note });
  server.add(WorkerServiceDefinition, {
    async *connect(requests, { principal }) {
      callers.push(principal);
      for await (const _ of requests);
    },
    async *fetchBundle({ digest }, { signal }) {
      while (digest === "endless") {
        made += 1;
        yield { chunk: CHUNK };
      }
      yield {};
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
  });
  server.add(HealthDefinition, HealthServiceImpl(HealthState().setMaxListeners(0)));
  connection = connect(`http://127.0.0.1:${await server.listen("127.0.0.1:0")}`);
  close = () => {
    connection.destroy();
    server.forceShutdown();
  };
});

afterEach(() => close());

/** Sends the headers of a call, and nothing else. */
function call(path: string, headers: Readonly<Record<string, string>> = {}) {
  const stream = connection.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    ...headers,
  });
  stream.on("error", () => {});
  const closed = new Promise<void>((resolve) => stream.once("close", resolve));
  return { stream, closed, outcome: outcome(stream) };
}

const as = (token: string) => ({ authorization: `Bearer ${token}` });

/** As `summary` says it. */
async function outcome(stream: ClientHttp2Stream): Promise<string> {
  const { promise, resolve } = Promise.withResolvers<IncomingHttpHeaders>();
  stream.on("response", (headers) => {
    if (headers["grpc-status"] !== undefined) resolve(headers);
  });
  stream.on("trailers", resolve);
  stream.resume();
  const headers = await promise;
  const encoded = Buffer.from(String(headers["grpc-status-details-bin"] ?? ""), "base64");
  return summary(outcomeOf({ ...RpcStatus.decode(encoded), code: Number(headers["grpc-status"]) }));
}

/** The beginning of a message of `bytes`. */
function beginning(bytes: number, sent: number): Buffer {
  const frame = Buffer.alloc(5 + sent);
  frame.writeUInt32BE(bytes, 1);
  return frame;
}

const WHOLE = beginning(0, 0);

describe("a call of a stranger", () => {
  it.each([
    ["no credential", CANCEL, {}, KEY_INVALID],
    ["no token", CANCEL, { authorization: "Bearer " }, KEY_INVALID],
    ["a token that nobody knows", CANCEL, as("unknown"), KEY_INVALID],
    ["a credential for other methods", CONNECT, as("service"), "PERMISSION_DENIED PermissionDenied"],
    ["no credential for a stream", CONNECT, {}, KEY_INVALID],
  ])("with %s is answered before its message is there", async (_, path, headers, expected) => {
    const { outcome } = call(path, headers);
    expect(await outcome).toBe(expected);
    expect(callers).toEqual([]);
  });

  it("ends, where it does not end itself", async () => {
    const { stream, outcome, closed } = call(CANCEL, as("unknown"));
    stream.write(beginning(8 * MIB, MIB));
    expect(await outcome).toBe(KEY_INVALID);
    await closed;
  });

  it("is told no more than that the server failed where it did", async () => {
    const error = vi.spyOn(log, "error");
    expect(await call(CANCEL, as("broken")).outcome).toBe("INTERNAL");
    expect(error).toHaveBeenCalledWith(expect.objectContaining({ method: CANCEL }), "internal error");
  });
});

describe("a service that needs no key", () => {
  const CHECK = "/grpc.health.v1.Health/Check";
  const WATCH = "/grpc.health.v1.Health/Watch";

  it("takes no large message, and keeps nothing of it", async () => {
    const { stream, outcome } = call(CHECK);
    stream.write(beginning(LIMITS.openMessageBytes + 1, 0));
    expect(await outcome).toMatch(/^RESOURCE_EXHAUSTED/);
    const small = call(CHECK);
    small.stream.end(WHOLE);
    expect(await small.outcome).toBe("OK");
  });

  it("has a bound of streams, which are free again at their end", async () => {
    const open = Array.from({ length: LIMITS.openStreams }, () => call(WATCH));
    for (const { stream } of open) stream.end(WHOLE);
    await Promise.all(open.map(({ stream }) => once(stream, "response")));
    const late = call(WATCH);
    late.stream.end(WHOLE);
    expect(await late.outcome).toBe(`RESOURCE_EXHAUSTED ResourceExhausted limit=${LIMITS.openStreams}`);
    const check = call(CHECK);
    check.stream.end(WHOLE);
    expect(await check.outcome).toBe("OK");
    for (const { stream } of open) stream.close();
    await Promise.all(open.map(({ closed }) => closed));
    const again = call(WATCH);
    again.stream.end(WHOLE);
    const [headers] = (await once(again.stream, "response")) as [IncomingHttpHeaders];
    expect(headers["grpc-status"]).toBeUndefined();
  });
});

describe("a call that the library below refuses", () => {
  const packed = beginning(3, 3);
  packed.writeUInt8(1, 0);

  it.each([
    ["for its deadline", { "grpc-timeout": "abc" }, WHOLE, 'request: Invalid grpc-timeout value "abc"'],
    [
      "for a message that does not unpack",
      { "grpc-encoding": "gzip" },
      packed,
      "request: Failed to decompress message",
    ],
  ])("%s is told so like any other", async (_, headers, bytes, expected) => {
    const { stream, outcome } = call(CANCEL, { ...as("service"), ...headers });
    stream.end(bytes);
    expect(await outcome).toBe(badFields(expected));
    expect(callers).toEqual([]);
  });
});

describe("a message", () => {
  const late = `RESOURCE_EXHAUSTED ResourceExhausted limit=${ARRIVAL_MS}`;

  it.each([
    ["does not come", Buffer.alloc(0)],
    ["does not come to its end", beginning(MIB, 1_000)],
    ["is not said to be the only one", WHOLE],
  ])("that %s within the bound is refused, and let go of", async (_, bytes) => {
    const { stream, outcome, closed } = call(CANCEL, as("service"));
    stream.write(bytes);
    expect(await outcome).toBe(late);
    await closed;
    expect(callers).toEqual([]);
  });

  it("whose caller gave up earlier is let go of too, though the stream stays open", async () => {
    const { stream, outcome, closed } = call(CANCEL, { ...as("service"), "grpc-timeout": "20m" });
    stream.write(beginning(MIB, 1_000));
    expect(await outcome).toBe("DEADLINE_EXCEEDED");
    await closed;
  });

  it("may come in pieces within the bound", async () => {
    const { stream, outcome } = call(CANCEL, as("service"));
    for (const byte of WHOLE) {
      stream.write(Buffer.of(byte));
      await sleep(5);
    }
    stream.end();
    expect(await outcome).toBe("OK");
    expect(callers).toEqual([{ kind: "service" }]);
  });

  it("of a stream may come at any time, and what is answered to a request too", async () => {
    const streams = [call(CONNECT, as("worker-1")), call(`/${WORKER}/FetchBundle`, as("worker-1"))];
    const [connected, fetching] = streams;
    fetching?.stream.end(WHOLE);
    await sleep(2 * ARRIVAL_MS);
    expect(streams.map(({ stream }) => stream.closed)).toEqual([false, false]);
    connected?.stream.end(WHOLE);
    expect(await connected?.outcome).toBe("OK");
  });
});

it("that nobody reads is made one message at a time, and holds up nobody", async () => {
  const unread = connection.request({
    ":method": "POST",
    ":path": `/${WORKER}/FetchBundle`,
    "content-type": "application/grpc",
    te: "trailers",
    ...as("worker-1"),
  });
  unread.on("error", () => {});
  unread.end(Buffer.concat([beginning(9, 0), Buffer.from("\n\u0007endless")]));
  await vi.waitFor(() => expect(made).toBe(1));
  for (let time = 0; time < 20; time += 1) {
    const { stream, outcome } = call(CANCEL, as("service"));
    stream.end(WHOLE);
    expect(await outcome).toBe("OK");
  }
  expect(made).toBe(1);
  unread.resume();
  await vi.waitFor(() => expect(made).toBeGreaterThan(20));
  unread.close();
});

it("takes nobody for another, whatever a client says of its call", async () => {
  const first = call(CONNECT, as("worker-1"));
  await vi.waitFor(() => expect(callers).toHaveLength(1));
  const second = call(CANCEL, { ...as("worker-2"), "multinode-call-number": "1" });
  second.stream.end(WHOLE);
  expect(await second.outcome).toBe("OK");
  expect(callers).toEqual(["worker-1", "worker-2"].map((workerId) => ({ kind: "worker", workerId })));
  first.stream.close();
});
