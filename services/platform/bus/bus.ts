/**
 * The port to events between services. An event is a hint that something changed: it may be lost, doubled or late, so
 * whoever listens also looks for itself now and then. Publishing never fails and never waits.
 */
import type { Event } from "../../../gen/multinode/event/v1/event.pb.js";

/** Last part of the subject "multinode.v1.<kind>". */
export type EventKind = "invocation" | "queue" | "interruption" | "project" | "log";

export type EventBody = NonNullable<Event["event"]>;

export interface Bus {
  publish(event: EventBody): void;
  /**
   * Calls `listener` with each event of the kind until the answer is called, and `missed` when events may have been lost
   * in number, as after a broken connection, so that who needs not wait looks at once. Neither may throw.
   */
  subscribe(kind: EventKind, listener: (event: EventBody) => void, missed?: () => void): () => void;
  close(): Promise<void>;
}

const SUBJECT_PREFIX = "multinode.v1.";

const KINDS: Record<EventBody["$case"], EventKind> = {
  invocations: "invocation",
  queue: "queue",
  interruptions: "interruption",
  project: "project",
  logs: "log",
};

export const EVENT_KINDS: readonly EventKind[] = Object.values(KINDS);

export function kindOf(event: EventBody): EventKind {
  return KINDS[event.$case];
}

export function subjectOf(kind: EventKind): string {
  return SUBJECT_PREFIX + kind;
}

export function kindOfSubject(subject: string): EventKind | undefined {
  return EVENT_KINDS.find((kind) => subjectOf(kind) === subject);
}
