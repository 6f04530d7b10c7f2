import { createChannel, createClient, Metadata, Status } from "nice-grpc";
import { HealthDefinition } from "nice-grpc-server-health";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  EventServiceDefinition,
  type EventServiceImplementation,
} from "../../../gen/multinode/event/v1/event_service.pb.js";
import { createLogger } from "../log.js";
import { type Listening, listen } from "./listening.js";
import type { Caller } from "./principal.js";
import { createRpcServer, type ServerSettings } from "./server.js";

const SERVING = 1;
const NOT_SERVING = 2;
const NAME = EventServiceDefinition.fullName;
const undo: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

type Subscribe = EventServiceImplementation<Caller>["subscribe"];

/** A server with one method. */
async function openWith(
  subscribe: Subscribe,
  settings: Partial<Pick<ServerSettings, "connectionAgeMs" | "stopping">> = {},
) {
  const server = createRpcServer({
    log: createLogger("test", "silent"),
    authorities: [async () => ({ kind: "service" })],
    access: { [NAME]: { kinds: ["service"] } },
    stopping: new AbortController().signal,
    ...settings,
  });
  server.add(EventServiceDefinition, { subscribe });
  const listening: Listening = await listen(server, { host: "127.0.0.1", port: 0 }, [NAME]);
  undo.push(() => listening.stop(0));
  const channel = createChannel(`127.0.0.1:${listening.port}`);
  undo.push(() => channel.close());
  const events = createClient(EventServiceDefinition, channel, {
    "*": { metadata: Metadata({ authorization: "Bearer x" }) },
  });
  const health = createClient(HealthDefinition, channel);
  return { listening, health, events };
}

/** Its method never ends and hears nobody. `called` resolves when it is called. */
async function open() {
  const { promise: called, resolve } = Promise.withResolvers<void>();
  const opened = await openWith(async function* () {
    yield { events: [] };
    resolve();
    await new Promise(() => undefined);
  });
  return { ...opened, called };
}

describe("health checking", () => {
  it("tells of the server and of each service whether calls are welcome", async () => {
    const { listening, health } = await open();
    const statuses = () => Promise.all(["", NAME].map(async (service) => (await health.check({ service })).status));
    expect(await statuses()).toEqual([NOT_SERVING, NOT_SERVING]);
    listening.serving(true);
    expect(await statuses()).toEqual([SERVING, SERVING]);
    listening.serving(false);
    expect(await statuses()).toEqual([NOT_SERVING, NOT_SERVING]);
    await expect(health.check({ service: "multinode.nonsense" })).rejects.toThrow("NOT_FOUND");
  });
});

describe("a stream", () => {
  it("has a signal that aborts at its end, so that nothing that listens to it is kept", async () => {
    let given: AbortSignal | undefined;
    const { events } = await openWith(async function* (_request, { signal }) {
      given = signal;
      yield { events: [] };
    });
    for await (const _ of events.subscribe({ subjects: [] })) continue;
    await vi.waitFor(() => expect(given?.aborted).toBe(true));
  });

  it("that passes on another service's ends, when its server stops, as one to ask another server for", async () => {
    const other = await open(); // does not stop
    const stopping = new AbortController();
    const { events } = await openWith(
      (request, { signal }) => other.events.subscribe(request, { signal }) as AsyncGenerator<{ events: [] }>,
      { stopping: stopping.signal },
    );
    const read = async () => {
      for await (const _ of events.subscribe({ subjects: [] })) stopping.abort();
    };
    await expect(read()).rejects.toMatchObject({ code: Status.UNAVAILABLE, details: "the server is stopping" });
  });
});

describe("a connection", () => {
  it("gives way to another when it is old, and no call is lost with it", async () => {
    const peers = new Set<string>();
    const { events } = await openWith(
      async function* (_request, { peer }) {
        peers.add(peer);
        yield { events: [] };
      },
      // The library tries a call again that an old connection refuses, once: not where the next one is old by then.
      { connectionAgeMs: 100 },
    );
    const call = async () => {
      let answers = 0;
      for await (const _ of events.subscribe({ subjects: [] })) answers += 1;
      return answers;
    };
    while (peers.size < 12) expect(await Promise.all([call(), call(), call()])).toEqual([1, 1, 1]);
  });
});

describe("a stop", () => {
  it("breaks off what does not end within the bound", async () => {
    const { listening, called, events } = await open();
    const reading = (async () => {
      for await (const _ of events.subscribe({ subjects: [] })) continue;
    })();
    await called;
    const startedAt = performance.now();
    const [, lost] = await Promise.allSettled([listening.stop(200), reading]);
    const ms = performance.now() - startedAt;
    expect(ms).toBeGreaterThan(150);
    expect(ms).toBeLessThan(5_000);
    expect(lost).toMatchObject({ status: "rejected" });
  });

  it("does not wait where nothing is under way, though clients are connected", async () => {
    const { listening, health } = await open();
    await health.check({ service: "" });
    const startedAt = performance.now();
    await listening.stop(10_000);
    expect(performance.now() - startedAt).toBeLessThan(5_000);
  });
});

it("a port that is taken is told by the error alone", async () => {
  const { listening } = await open();
  const lines = vi.spyOn(console, "error").mockReturnValue();
  undo.push(() => lines.mockRestore());
  const server = createRpcServer({
    log: createLogger("test", "silent"),
    authorities: [],
    access: {},
    stopping: new AbortController().signal,
  });
  const taken = { host: "127.0.0.1", port: listening.port };
  await expect(listen(server, taken, [])).rejects.toMatchObject({ code: "EADDRINUSE" });
  expect(lines).not.toHaveBeenCalled();
});
