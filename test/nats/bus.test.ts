/** The bus over a real NATS server, which is there, away, comes back, or says nothing. */

import { once } from "node:events";
import { connect } from "node:net";
import { Writable } from "node:stream";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { Event } from "../../gen/multinode/event/v1/event.pb.js";
import type { EventBody } from "../../services/platform/bus/bus.js";
import { NatsBus } from "../../services/platform/bus/nats.js";
import { natsUrlSetting } from "../../services/platform/bus/nats_address.js";
import { MOST_IDS_PER_MESSAGE } from "../../services/platform/bus/split.js";
import { createLogger } from "../../services/platform/log.js";
import { testBus } from "../contract/bus.contract.js";
import { NatsServer, type NatsUser, openToAll, passwordOf } from "../harness/nats.js";

setFlagsFromString("--expose-gc");
/** So that memory is what is kept, and not what was thrown away. */
const collectGarbage = runInNewContext("gc") as () => void;

const WAIT = { timeout: 20_000, interval: 20 };
const silent = createLogger("test", "silent");
const project = (projectName: string): EventBody => ({ $case: "project", value: { projectName } });

function busOf(url: string, log = silent): NatsBus {
  return new NatsBus({ addresses: natsUrlSetting.parse(url), service: "test", log });
}

describe("the bus over NATS", () => {
  let server: NatsServer;
  beforeAll(async () => {
    server = await NatsServer.start({ config: openToAll });
  });
  afterAll(() => server.close());

  testBus(async () => {
    const [here, there] = [busOf(server.url("registry")), busOf(server.url("invocation"))];
    const close = async () => {
      await Promise.all([here.close(), there.close()]);
    };
    return { here, there, close };
  });
});

describe("a service on NATS", () => {
  const undo: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const step of undo.splice(0).reverse()) await step();
  });

  const create = async () => {
    const server = await NatsServer.create({ config: openToAll });
    undo.push(() => server.close());
    return server;
  };
  const open = (server: NatsServer, user: NatsUser = "registry", log = silent) => {
    const bus = busOf(server.url(user), log);
    undo.push(() => bus.close());
    return bus;
  };
  /** Publishes until it has come, as events may be lost. */
  const reaches = (from: NatsBus, heard: ReturnType<typeof vi.fn>, name: string) =>
    vi.waitFor(() => {
      from.publish(project(name));
      expect(heard).toHaveBeenCalledWith(project(name));
    }, WAIT);

  it("starts without a server, hears itself meanwhile, and connects when there is one", async () => {
    const server = await create();
    const [here, there] = [open(server), open(server, "invocation")];
    const [own, heard, missed] = [vi.fn(), vi.fn(), vi.fn()];
    here.subscribe("project", own);
    there.subscribe("project", heard, missed);
    here.publish(project("early"));
    await vi.waitFor(() => expect(own).toHaveBeenCalledWith(project("early")), WAIT);
    expect(missed).not.toHaveBeenCalled();
    await server.start();
    await reaches(here, heard, "late");
    expect(heard).not.toHaveBeenCalledWith(project("early"));
    expect(missed).toHaveBeenCalledTimes(1);
  });

  it("heals when the server is killed and comes back, and tells its listeners that they missed events", async () => {
    const server = await create();
    await server.start();
    const [here, there] = [open(server), open(server, "invocation")];
    const [heard, missed, left] = [vi.fn(), vi.fn(), vi.fn()];
    there.subscribe("project", heard, missed);
    const leave = there.subscribe("log", vi.fn(), left);
    await reaches(here, heard, "before");
    expect(left).toHaveBeenCalledTimes(1);
    leave();
    await server.kill();
    // Far more than any buffer holds, were there one.
    for (let index = 0; index < 20_000; index++) here.publish(project(`lost-${index}`));
    await server.start();
    await reaches(here, heard, "after");
    expect(missed).toHaveBeenCalledTimes(2);
    expect(left).toHaveBeenCalledTimes(1);
    expect(heard.mock.calls.flat().filter((event: EventBody) => JSON.stringify(event).includes("lost-"))).toEqual([]);
  });

  it("goes to another server when its own is gone", async () => {
    const [first, second] = [await create(), await create()];
    await first.start();
    const here = busOf(`${first.url("registry")},${second.url("registry")}`);
    undo.push(() => here.close());
    const there = open(second, "invocation");
    const heard = vi.fn();
    there.subscribe("project", heard);
    await second.start();
    await first.kill();
    await reaches(here, heard, "elsewhere");
  });

  it("keeps no more than a bound for a server that has stopped reading, and finds it again", async () => {
    const server = await create();
    await server.start();
    const [here, there] = [open(server), open(server, "invocation")];
    const heard = vi.fn();
    there.subscribe("project", heard);
    await reaches(here, heard, "before");
    server.pause();
    collectGarbage();
    const before = process.memoryUsage();
    const executionIds = Array.from({ length: MOST_IDS_PER_MESSAGE }, (_, index) => `exe-${index}`.padEnd(30, "0"));
    // 160 kB each, 800 MB in all.
    for (let index = 0; index < 5_000; index++) here.publish({ $case: "logs", value: { executionIds } });
    await new Promise((resolve) => setImmediate(resolve));
    collectGarbage();
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(64 * 1024 * 1024);
    server.resume();
    await reaches(here, heard, "after");
  });

  it("takes a connection for lost whose server answers no more, though it can still be written to", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    undo.push(async () => void vi.useRealTimers());
    const server = await create();
    await server.start();
    const lines: string[] = [];
    const bus = open(server, "registry", logTo(lines));
    const seen = async (text: string) => {
      for (let turn = 0; turn < 20_000 && !lines.join("").includes(text); turn++) {
        await new Promise((resolve) => setImmediate(resolve));
      }
      expect(lines.join("")).toContain(text);
    };
    await seen("connected to NATS");
    server.pause();
    // More than the sockets hold, so that the library's own end would wait for it to be read.
    const executionIds = Array.from({ length: MOST_IDS_PER_MESSAGE }, (_, index) => `exe-${index}`.padEnd(30, "0"));
    for (let index = 0; index < 100; index++) bus.publish({ $case: "logs", value: { executionIds } });
    for (let ping = 0; ping < 4; ping++) {
      await new Promise((resolve) => setImmediate(resolve));
      vi.advanceTimersByTime(10_000);
    }
    await seen("the server does not answer");
    vi.useRealTimers();
    server.resume();
  });

  it("ends in bounded time: with a server, without one, with one that says nothing, and twice", async () => {
    const server = await create();
    const ends = async (bus: NatsBus, boundMs: number) => {
      const startedAt = performance.now();
      await bus.close();
      await bus.close();
      expect(performance.now() - startedAt).toBeLessThan(boundMs);
    };
    await ends(open(server), 500);
    await server.start();
    const heard = vi.fn();
    const connected = open(server);
    const other = open(server, "invocation");
    other.subscribe("project", heard);
    await reaches(connected, heard, "connected");
    connected.publish(project("last words"));
    await ends(connected, 1_000);
    await vi.waitFor(() => expect(heard).toHaveBeenCalledWith(project("last words")), WAIT);
    server.pause();
    const dialling = open(server);
    // The system has accepted its connection, and nobody greets it.
    const witness = connect(server.port, "127.0.0.1");
    await once(witness, "connect");
    witness.destroy();
    await ends(dialling, 500);
    await ends(other, 2_000);
    server.resume();
  });

  it("says once that the server is away, and never a password", async () => {
    const server = await create();
    const lines: string[] = [];
    const bus = open(server, "registry", logTo(lines));
    await vi.waitFor(() => expect(lines.join("")).toContain("ECONNREFUSED"), WAIT);
    await server.start();
    await vi.waitFor(() => expect(lines.join("")).toContain("connected to NATS"), WAIT);
    await server.kill();
    await vi.waitFor(() => expect(lines.join("")).toContain("is lost; trying again"), WAIT);
    await server.start();
    await vi.waitFor(() => expect(lines.filter((line) => line.includes("connected to NATS"))).toHaveLength(2), WAIT);
    const wrong = new NatsBus({
      addresses: natsUrlSetting.parse(server.url("registry").replace(passwordOf("registry"), "wrong-word")),
      service: "test",
      log: logTo(lines),
    });
    undo.push(() => wrong.close());
    await vi.waitFor(() => expect(lines.join("")).toContain("Authorization Violation"), WAIT);
    expect(lines.filter((line) => line.includes("ECONNREFUSED")).length).toBeLessThanOrEqual(2);
    expect(lines.join("")).not.toContain("wrong-word");
    expect(lines.join("")).not.toContain(passwordOf("registry"));
    await bus.close();
  });

  it("passes over what is no event of its kind, and hears on", async () => {
    const server = await create();
    await server.start();
    const [here, there] = [open(server), open(server, "invocation")];
    const [heard, misled] = [vi.fn(), vi.fn()];
    there.subscribe("project", heard);
    there.subscribe("queue", misled);
    await reaches(here, heard, "before");
    const raw = connect(server.port, "127.0.0.1");
    undo.push(async () => void raw.destroy());
    const [user, pass] = ["registry", passwordOf("registry")];
    raw.write(`CONNECT ${JSON.stringify({ verbose: false, pedantic: false, user, pass })}\r\n`);
    const queue = Event.encode({ event: { $case: "queue", value: {} } }).finish();
    for (const data of [new Uint8Array([255, 255, 255, 1]), new Uint8Array(0), queue]) {
      raw.write(`PUB multinode.v1.project ${data.byteLength}\r\n`);
      raw.write(data);
      raw.write("\r\n");
    }
    // In order behind them, on the same connection.
    const last = Event.encode({ event: project("last") }).finish();
    raw.write(`PUB multinode.v1.project ${last.byteLength}\r\n`);
    raw.write(last);
    raw.write("\r\n");
    await vi.waitFor(() => expect(heard).toHaveBeenCalledWith(project("last")), WAIT);
    await reaches(here, heard, "after");
    expect(misled).not.toHaveBeenCalled();
  });
});

function logTo(lines: string[]): ReturnType<typeof createLogger> {
  const sink = new Writable({
    write(chunk: Buffer, _, done) {
      lines.push(chunk.toString());
      done();
    },
  });
  return pino({ level: "debug" }, sink);
}
