import type { WorkerEvent, WorkerExecutionEnded } from "../../../../gen/multinode/scheduler/v1/worker_service.pb.js";
import type { Payload } from "../../../../gen/multinode/type/v1/payload.pb.js";
import type { TextPayload } from "../values/codec.js";
import { type Outcome, received } from "./messages.js";

const LEAVING: WorkerEvent = { event: { $case: "leaving", value: {} } };

type YieldedEvent = { index: number; value: Payload };
type EndedEvent = { event: Extract<NonNullable<WorkerEvent["event"]>, { $case: "ended" }> };

/** An execution from `assign` until its end is acknowledged. */
interface Held {
  readonly token: string;
  /** False: it was given when the process was about to end (S6). */
  readonly begins: boolean;
  /** "begun": user code began to run, and the scheduler was not told yet. */
  start: "none" | "begun" | "sent";
  /** The value that was sent and is not acknowledged. */
  sentYield: YieldedEvent | undefined;
  /** The newest value that waits for that. */
  nextYield: YieldedEvent | undefined;
  /** Its end, once it has ended. */
  ended: EndedEvent | undefined;
}

/**
 * What a worker holds, as the scheduler must know it. Pure: it turns what happens into events to send, and what it holds
 * into what must be said again on another connection.
 *
 * S1 An execution is held from its assignment until its end is acknowledged, over any number of connections.
 * S2 It ends once: what comes after its end is dropped.
 * S3 At most one yielded value of an execution is on its way; those that follow are merged into the newest.
 * S4 The last yielded value is sent before the end.
 * S5 A start is sent by `takeStarts`, or before a yielded value, or within the end where that comes first.
 * S6 What comes when the process is about to end is held, so that nobody gives it again, and never begins.
 */
export class Session {
  readonly #workerId: string;
  readonly #sdk: string;
  /** Unlike that of any other process, also of one that an engine started as the same worker. */
  readonly #instance = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2)}`;
  readonly #held = new Map<string, Held>();
  readonly #begun = new Set<string>();
  /** Whether any execution ever began here. */
  #hasBegunAny = false;
  #isLeaving = false;

  constructor(workerId: string, sdk: string) {
    this.#workerId = workerId;
    this.#sdk = sdk;
  }

  get holdsAny(): boolean {
    return this.#held.size > 0;
  }

  /** Whether it holds any whose end is still to be told. */
  get hasToEnd(): boolean {
    for (const { begins } of this.#held.values()) if (begins) return true;
    return false;
  }

  /** The first event of a connection. */
  hello(): WorkerEvent {
    const executions = Array.from(this.#held, ([executionId, held]) => ({ executionId, executionToken: held.token }));
    return {
      event: {
        $case: "hello",
        value: {
          workerId: this.#workerId,
          protocolVersion: 1,
          sdk: this.#sdk,
          executions,
          instance: this.#instance,
        },
      },
    };
  }

  /** All that the scheduler may have missed, to be sent after its welcome. Saying it twice changes nothing. */
  resend(): WorkerEvent[] {
    const events: WorkerEvent[] = this.#isLeaving ? [LEAVING] : [];
    for (const [executionId, held] of this.#held) {
      if (held.start !== "none" && held.ended?.event.value.started !== true) {
        held.start = "sent";
        this.#begun.delete(executionId);
        events.push(startedEvent(executionId));
      }
      const newest = held.nextYield ?? held.sentYield;
      if (newest !== undefined) {
        held.sentYield = newest;
        held.nextYield = undefined;
        events.push(yieldedEvent(executionId, newest));
      }
      if (held.ended !== undefined) events.push(held.ended);
    }
    return events;
  }

  status(memoryBytes: number): WorkerEvent {
    return { event: { $case: "status", value: { executionIds: this.runningIds(), memoryBytes } } };
  }

  runningIds(): string[] {
    const ids: string[] = [];
    for (const [executionId, held] of this.#held) if (held.ended === undefined) ids.push(executionId);
    return ids;
  }

  isRunning(executionId: string): boolean {
    const held = this.#held.get(executionId);
    return held !== undefined && held.ended === undefined;
  }

  /** Whether its user code began to run. */
  hasBegun(executionId: string): boolean {
    return (this.#held.get(executionId)?.start ?? "none") !== "none";
  }

  /** Takes an execution, unless it is held already. */
  assign(executionId: string, token: string): { begins: boolean; events: WorkerEvent[] } {
    const known = this.#held.get(executionId);
    if (known !== undefined) return { begins: false, events: known.ended === undefined ? [] : [known.ended] };
    const begins = !this.#isLeaving; // S6
    this.#held.set(executionId, {
      token,
      begins,
      start: "none",
      sentYield: undefined,
      nextYield: undefined,
      ended: undefined,
    });
    return { begins, events: [] };
  }

  /** User code of these begins to run. */
  began(executionIds: readonly string[]): void {
    for (const executionId of executionIds) {
      const held = this.#held.get(executionId);
      if (held?.start !== "none" || held.ended !== undefined) continue;
      held.start = "begun";
      this.#hasBegunAny = true;
      this.#begun.add(executionId);
    }
  }

  /** Starts that were not sent yet. */
  takeStarts(): WorkerEvent[] {
    const events: WorkerEvent[] = [];
    for (const executionId of this.#begun) events.push(...this.#takeStart(executionId));
    return events;
  }

  #takeStart(executionId: string): WorkerEvent[] {
    const held = this.#held.get(executionId);
    this.#begun.delete(executionId);
    if (held?.start !== "begun") return [];
    held.start = "sent";
    return [startedEvent(executionId)];
  }

  yielded(executionId: string, index: number, value: TextPayload): WorkerEvent[] {
    const held = this.#held.get(executionId);
    if (held === undefined || held.ended !== undefined) return []; // S2
    const event: YieldedEvent = { index, value: received(value) };
    if (held.sentYield !== undefined) {
      held.nextYield = event; // S3
      return [];
    }
    held.sentYield = event;
    return [...this.#takeStart(executionId), yieldedEvent(executionId, event)];
  }

  acknowledgeYielded(executionIds: readonly string[]): WorkerEvent[] {
    const events: WorkerEvent[] = [];
    for (const executionId of executionIds) {
      const held = this.#held.get(executionId);
      // After its end the last value was sent without waiting for this, which is of one before it.
      if (held === undefined || held.ended !== undefined) continue;
      held.sentYield = held.nextYield;
      held.nextYield = undefined;
      if (held.sentYield !== undefined) events.push(yieldedEvent(executionId, held.sentYield));
    }
    return events;
  }

  ended(executionId: string, outcome: Outcome, interrupted: boolean): WorkerEvent[] {
    const held = this.#held.get(executionId);
    if (held === undefined || held.ended !== undefined) return []; // S2
    const events: WorkerEvent[] = [];
    if (held.nextYield !== undefined) {
      events.push(yieldedEvent(executionId, held.nextYield)); // S4
      held.sentYield = held.nextYield;
      held.nextYield = undefined;
    }
    held.ended = endedEvent(executionId, outcome, {
      interrupted,
      started: held.start === "begun",
    });
    if (this.#begun.delete(executionId)) held.start = "sent";
    events.push(held.ended);
    return events;
  }

  /** The process is about to end. What has begun is said before: the rest is run elsewhere. */
  leave(): WorkerEvent[] {
    this.#isLeaving = true;
    return [...this.takeStarts(), LEAVING];
  }

  /**
   * Ends what runs, because the process is about to die. What has not begun had no part in that and may go elsewhere, unless
   * nothing ever began here: then it is the code that dies, wherever it is loaded.
   */
  endAll(error: string): WorkerEvent[] {
    const isHit = (executionId: string) => !this.#hasBegunAny || this.#held.get(executionId)?.start !== "none";
    return this.runningIds()
      .filter(isHit)
      .flatMap((executionId) => this.ended(executionId, { kind: "threw", error }, false));
  }

  /** Whether an execution has ended whose end is not acknowledged. */
  get owesEnds(): boolean {
    for (const held of this.#held.values()) if (held.ended !== undefined) return true;
    return false;
  }

  acknowledgeEnded(executionIds: readonly string[]): void {
    for (const executionId of executionIds) {
      if (this.#held.get(executionId)?.ended !== undefined) this.#held.delete(executionId); // S1
    }
  }
}

function startedEvent(executionId: string): WorkerEvent {
  return { event: { $case: "started", value: { executionId } } };
}

function yieldedEvent(executionId: string, { index, value }: YieldedEvent): WorkerEvent {
  return { event: { $case: "yielded", value: { executionId, index, value } } };
}

function endedEvent(
  executionId: string,
  outcome: Outcome,
  how: Pick<WorkerExecutionEnded, "interrupted" | "started">,
): EndedEvent {
  return { event: { $case: "ended", value: { executionId, result: resultOf(outcome), ...how } } };
}

function resultOf(outcome: Outcome): NonNullable<WorkerExecutionEnded["result"]> {
  if (outcome.kind === "threw") {
    const { error, nonRetryable } = outcome;
    return { $case: "threw", value: { error, nonRetryable } };
  }
  const value = outcome.value === undefined ? undefined : received(outcome.value);
  return { $case: "returned", value: { value } };
}
