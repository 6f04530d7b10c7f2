import type { Server } from "nice-grpc";
import { afterEach, describe, expect, it, vi } from "vitest";
import { EventServiceDefinition } from "../../../gen/multinode/event/v1/event_service.pb.js";
import { testBus } from "../../../test/contract/bus.contract.js";
import { createLogger } from "../log.js";
import { ACCESS } from "../rpc/access.js";
import type { Caller } from "../rpc/principal.js";
import { createRpcServer } from "../rpc/server.js";
import { connectToService } from "../rpc/service_client.js";
import type { EventBody } from "./bus.js";
import { PeerBus } from "./peer.js";

const undo: (() => void | Promise<void>)[] = [];

async function undoAll(): Promise<void> {
  for (const step of undo.splice(0).reverse()) await step();
}

function serve(bus: PeerBus): { server: Server<Caller>; stop: () => Promise<void> } {
  const stopping = new AbortController();
  const server = createRpcServer({
    log: createLogger("test", "silent"),
    authorities: [async () => ({ kind: "service" })],
    access: ACCESS,
    stopping: stopping.signal,
  });
  server.add(EventServiceDefinition, bus.service());
  const stop = async () => {
    // Ends the streams; without it, the library breaks none of them off.
    stopping.abort();
    await server.shutdown();
  };
  return { server, stop };
}

function clientOf(port: number) {
  const connection = connectToService(`127.0.0.1:${port}`, "token");
  undo.push(() => connection.close());
  return connection.client(EventServiceDefinition);
}

async function openPair() {
  const here = new PeerBus([]);
  const { server, stop } = serve(here);
  const port = await server.listen("127.0.0.1:0");
  const there = new PeerBus([clientOf(port)]);
  const close = async () => {
    await there.close();
    await here.close();
    await stop();
    await undoAll();
  };
  return { here, there, port, stop, close };
}

describe("the bus between services", () => {
  testBus(openPair);
});

describe("a service that follows its peers", () => {
  afterEach(undoAll);
  const project = (projectName: string): EventBody => ({ $case: "project", value: { projectName } });
  const WAIT = { timeout: 10_000, interval: 20 };

  it("comes again when a peer was away", async () => {
    const { here, there, port, stop, close } = await openPair();
    const [heard, missed] = [vi.fn(), vi.fn()];
    there.subscribe("project", heard, missed);
    await vi.waitFor(() => {
      here.publish(project("before"));
      expect(heard).toHaveBeenCalled();
    }, WAIT);
    await stop();
    const next = serve(here);
    undo.push(next.stop);
    await vi.waitFor(async () => expect(await next.server.listen(`127.0.0.1:${port}`)).toBe(port), WAIT);
    // Once for each time that it came to the peer.
    await vi.waitFor(() => expect(missed).toHaveBeenCalledTimes(2), WAIT);
    await vi.waitFor(() => {
      here.publish(project("after"));
      expect(heard).toHaveBeenCalledWith(project("after"));
    }, WAIT);
    await close();
  });

  it("does not pass on what it hears, so that two who follow each other do not echo", async () => {
    const [left, right] = await Promise.all([openPair(), openPair()]);
    // A third one that hears of both and is followed by nobody, and one that follows the third.
    const third = new PeerBus([clientOf(left.port), clientOf(right.port)]);
    const { server, stop } = serve(third);
    const fourth = new PeerBus([clientOf(await server.listen("127.0.0.1:0"))]);
    const [heardByThird, heardByFourth] = [vi.fn(), vi.fn()];
    third.subscribe("project", heardByThird);
    fourth.subscribe("project", heardByFourth);
    await vi.waitFor(() => {
      left.here.publish(project("left"));
      expect(heardByThird).toHaveBeenCalledWith(project("left"));
    }, WAIT);
    await vi.waitFor(() => {
      third.publish(project("third"));
      expect(heardByFourth).toHaveBeenCalledWith(project("third"));
    }, WAIT);
    expect(heardByFourth).not.toHaveBeenCalledWith(project("left"));
    await Promise.all([third.close(), fourth.close()]);
    await stop();
    await Promise.all([left.close(), right.close()]);
  });

  it("is told what is wrong with a subject that does not exist", async () => {
    const { port, close } = await openPair();
    const client = clientOf(port);
    const read = async () => {
      for await (const _ of client.subscribe({ subjects: ["multinode.v1.nonsense"] })) break;
    };
    await expect(read()).rejects.toMatchObject({ reason: "ParameterValidationError" });
    await close();
  });

  it("ends although its peer cannot be reached", async () => {
    const bus = new PeerBus([clientOf(1)]);
    bus.publish(project("nobody hears"));
    await bus.close();
  });

  it("keeps what a slow reader has not taken, the newest of it, and no more", async () => {
    const bus = new PeerBus([]);
    const stopping = new AbortController();
    const context = { signal: stopping.signal } as Parameters<ReturnType<PeerBus["service"]>["subscribe"]>[1];
    const stream = bus
      .service()
      .subscribe({ subjects: ["multinode.v1.project"] }, context)
      [Symbol.asyncIterator]();
    expect(await stream.next()).toEqual({ done: false, value: { events: [] } });
    const reading = stream.next();
    for (let index = 0; index < 10_050; index++) bus.publish(project(String(index)));
    const { value } = await reading;
    const seen = (value?.events ?? []).map(({ event }) => (event?.$case === "project" ? event.value?.projectName : ""));
    expect(seen.at(-1)).toBe("10049");
    expect(seen).toHaveLength(10_000);
    stopping.abort();
    await stream.return?.();
    await bus.close();
  });
});
