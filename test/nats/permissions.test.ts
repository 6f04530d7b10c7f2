/** The configuration that comes with the project: each service may say and hear what it must, and nothing else. */
import { connect, type NatsConnection } from "@nats-io/transport-node";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { EVENT_KINDS, type EventBody, type EventKind, subjectOf } from "../../services/platform/bus/bus.js";
import { NatsBus } from "../../services/platform/bus/nats.js";
import { natsUrlSetting } from "../../services/platform/bus/nats_address.js";
import { createLogger } from "../../services/platform/log.js";
import { readDocument } from "../docs/documents.js";
import { tableRows } from "../docs/tables.js";
import { NATS_USERS, NatsServer, type NatsUser, passwordOf } from "../harness/nats.js";

const WAIT = { timeout: 10_000, interval: 20 };

const MAY_SAY: Record<NatsUser, readonly EventKind[]> = {
  registry: ["project"],
  invocation: ["invocation", "queue", "interruption", "log"],
  scheduler: [],
  observer: [],
};
const MAY_HEAR: Record<NatsUser, readonly EventKind[]> = {
  registry: ["invocation"],
  invocation: ["invocation", "queue", "log"],
  scheduler: ["interruption", "project"],
  observer: EVENT_KINDS,
};
const OTHER_SUBJECTS = [
  "multinode.v1",
  "multinode.v1.invocation.more",
  "multinode.v2.queue",
  "_INBOX.x",
  "$SYS.REQ.x",
  ">",
];

let server: NatsServer;
const connections: NatsConnection[] = [];

beforeAll(async () => {
  server = await NatsServer.start();
});
afterAll(async () => {
  await Promise.all(connections.map((connection) => connection.close()));
  await server.close();
});

async function open(user: NatsUser, pass = passwordOf(user)) {
  const connection = await connect({ servers: `127.0.0.1:${server.port}`, user, pass, reconnect: false });
  connections.push(connection);
  return connection;
}

/** Subjects that the server refuses, of those that `use` tries. */
async function refusedBy(user: NatsUser, use: (connection: NatsConnection) => void): Promise<string[]> {
  const connection = await open(user);
  const refused: string[] = [];
  const reading = (async () => {
    for await (const status of connection.status()) {
      if (status.type !== "error") continue;
      refused.push(/to "(.*)"/.exec(status.error.message)?.[1] ?? status.error.message);
    }
  })();
  use(connection);
  // The server answers in order: what it refuses, then this.
  await connection.flush();
  await connection.close();
  await reading;
  return refused;
}

describe.each(NATS_USERS)("the user %s", (user) => {
  it("may publish its own events only", async () => {
    const subjects = [...EVENT_KINDS.map(subjectOf), ...OTHER_SUBJECTS.slice(0, -1), "_INBOX_registry.x"];
    const refused = await refusedBy(user, (connection) => {
      for (const subject of subjects) connection.publish(subject, "x");
    });
    expect(subjects.filter((subject) => !refused.includes(subject))).toEqual(
      EVENT_KINDS.filter((kind) => MAY_SAY[user].includes(kind)).map(subjectOf),
    );
  });

  it("may hear the events that it needs only", async () => {
    const inboxes = NATS_USERS.map((other) => `_INBOX_${other}.x`);
    const subjects = [...EVENT_KINDS.map(subjectOf), ...OTHER_SUBJECTS, ...inboxes];
    const refused = await refusedBy(user, (connection) => {
      for (const subject of subjects) connection.subscribe(subject, { callback: () => undefined });
    });
    const allowed = subjects.filter((subject) => !refused.includes(subject));
    const others = user === "observer" ? ["multinode.v1.invocation.more"] : [];
    expect(allowed).toEqual([
      ...EVENT_KINDS.filter((kind) => MAY_HEAR[user].includes(kind)).map(subjectOf),
      ...others,
      `_INBOX_${user}.x`,
    ]);
  });

  it("needs its password", async () => {
    await expect(open(user, "wrong")).rejects.toThrow("Authorization Violation");
    await expect(open(user, "")).rejects.toThrow("Authorization Violation");
  });
});

it("is as docs/events.md says", () => {
  const rows = tableRows(readDocument("docs/events.md").text, [
    "subject",
    "field of Event",
    "said by",
    "heard by",
    "says",
  ]);
  const services = (["invocation", "registry", "scheduler"] as const).toSorted();
  const may = (what: Record<NatsUser, readonly EventKind[]>, kind: EventKind) =>
    services.filter((service) => what[service].includes(kind)).join(", ");
  expect(rows.map(([subject, , said, heard]) => [subject, said, heard])).toEqual(
    EVENT_KINDS.map((kind) => [subjectOf(kind), may(MAY_SAY, kind), may(MAY_HEAR, kind)]),
  );
});

it("lets nobody in without a name", async () => {
  await expect(connect({ servers: `127.0.0.1:${server.port}`, reconnect: false })).rejects.toThrow(
    "Authorization Violation",
  );
});

it("passes what each service says to those who need it, and to an observer", async () => {
  const refusals = vi.fn();
  const log = createLogger("test", "silent");
  log.error = refusals;
  const busOf = (user: NatsUser) =>
    new NatsBus({ addresses: natsUrlSetting.parse(server.url(user)), service: user, log });
  const buses = Object.fromEntries(NATS_USERS.map((user) => [user, busOf(user)]));
  // Another replica, since a service hears itself without the server.
  const invocationToo = busOf("invocation");
  const events: Record<EventKind, EventBody> = {
    invocation: { $case: "invocations", value: { invocations: [] } },
    queue: { $case: "queue", value: {} },
    interruption: { $case: "interruptions", value: { schedulerIds: ["sch-1"] } },
    project: { $case: "project", value: { projectName: "p" } },
    log: { $case: "logs", value: { executionIds: ["exe-1"] } },
  };
  const heard: Record<string, Set<EventKind>> = {};
  for (const user of NATS_USERS) {
    const kinds = new Set<EventKind>();
    heard[user] = kinds;
    const bus = user === "invocation" ? invocationToo : buses[user];
    for (const kind of MAY_HEAR[user]) bus?.subscribe(kind, () => kinds.add(kind));
  }
  await vi.waitFor(() => {
    for (const user of NATS_USERS) for (const kind of MAY_SAY[user]) buses[user]?.publish(events[kind]);
    for (const user of NATS_USERS) expect([...(heard[user] ?? [])].sort()).toEqual([...MAY_HEAR[user]].sort());
  }, WAIT);
  await Promise.all([...Object.values(buses), invocationToo].map((bus) => bus.close()));
  expect(refusals).not.toHaveBeenCalled();
});
