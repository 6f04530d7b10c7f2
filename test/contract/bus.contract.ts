/** What every implementation of the bus must do. An event may be lost, doubled or late, so this asks for no more. */
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type Bus, type EventBody, type EventKind, kindOf } from "../../services/platform/bus/bus.js";

export interface TestBuses {
  /** What is published here reaches those who subscribe there. They may be one. */
  readonly here: Bus;
  readonly there: Bus;
  close(): Promise<void>;
}

const EVENTS: readonly [EventKind, EventBody][] = [
  [
    "invocation",
    {
      $case: "invocations",
      value: { invocations: [{ invocationId: "inv-1", revision: 7, finished: true, terminated: false }] },
    },
  ],
  ["queue", { $case: "queue", value: {} }],
  ["interruption", { $case: "interruptions", value: { schedulerIds: ["sch-1", "sch-2"] } }],
  ["project", { $case: "project", value: { projectName: "p" } }],
  ["log", { $case: "logs", value: { executionIds: ["exe-1"] } }],
];

const project = (projectName: string): EventBody => ({ $case: "project", value: { projectName } });
const WAIT = { timeout: 5_000, interval: 5 };

export function testBus(open: () => Promise<TestBuses>): void {
  let buses: TestBuses;

  beforeAll(async () => {
    buses = await open();
  });
  afterAll(() => buses.close());

  /** Publishes again until it has come, as events may be lost. */
  const comes = (publish: () => void, seen: () => void) =>
    vi.waitFor(() => {
      publish();
      seen();
    }, WAIT);

  describe("an event", () => {
    it.each(EVENTS)("of the kind %s comes as it was published, to listeners of its kind only", async (kind, event) => {
      const misled: EventBody[] = [];
      const seen: EventBody[] = [];
      const unsubscribes = EVENTS.map(([other]) =>
        buses.there.subscribe(other, (heard) => {
          if (kindOf(heard) !== other) misled.push(heard);
          else if (other === kind) seen.push(heard);
        }),
      );
      await comes(
        () => buses.here.publish(event),
        () => expect(seen.length).toBeGreaterThan(0),
      );
      for (const heard of seen) expect(heard).toEqual(event);
      expect(misled).toEqual([]);
      for (const unsubscribe of unsubscribes) unsubscribe();
    });

    it("comes to its own service too, and to every listener", async () => {
      const [first, second] = [vi.fn(), vi.fn()];
      const unsubscribes = [first, second].map((listener) => buses.here.subscribe("project", listener));
      buses.here.publish(project("own"));
      await vi.waitFor(() => expect(second).toHaveBeenCalledWith(project("own")), WAIT);
      expect(first).toHaveBeenCalledWith(project("own"));
      for (const unsubscribe of unsubscribes) unsubscribe();
    });

    it("is heard after it was published, so that a publisher is never re-entered", async () => {
      const order: string[] = [];
      const unsubscribe = buses.here.subscribe("project", () => order.push("heard"));
      buses.here.publish(project("later"));
      order.push("published");
      await vi.waitFor(() => expect(order).toContain("heard"), WAIT);
      expect(order[0]).toBe("published");
      unsubscribe();
    });

    it("comes in the order of publishing, as far as it comes", async () => {
      const seen: string[] = [];
      const unsubscribe = buses.there.subscribe("project", (event) => {
        if (event.$case === "project") seen.push(event.value.projectName);
      });
      const names = Array.from({ length: 500 }, (_, index) => String(index).padStart(3, "0"));
      await comes(
        () => buses.here.publish(project("begin")),
        () => expect(seen).toContain("begin"),
      );
      for (const name of names) buses.here.publish(project(name));
      await comes(
        () => buses.here.publish(project("end")),
        () => expect(seen).toContain("end"),
      );
      const numbers = seen.filter((name) => /\d/.test(name));
      expect(numbers).toEqual([...numbers].sort());
      unsubscribe();
    });

    it("does not come to one who has unsubscribed", async () => {
      const [left, stays] = [vi.fn(), vi.fn()];
      const unsubscribe = buses.there.subscribe("queue", left);
      const end = buses.there.subscribe("queue", stays);
      unsubscribe();
      unsubscribe();
      await comes(
        () => buses.here.publish({ $case: "queue", value: {} }),
        () => expect(stays).toHaveBeenCalled(),
      );
      expect(left).not.toHaveBeenCalled();
      end();
    });
  });

  it("ends, once and again, and publishing fails nobody", async () => {
    const other = await open();
    const listener = vi.fn();
    other.there.subscribe("queue", listener);
    await other.close();
    await other.here.close();
    other.here.publish({ $case: "queue", value: {} });
    await new Promise((resolve) => setImmediate(resolve));
    expect(listener).not.toHaveBeenCalled();
  });
}
