/** Large events as several small ones, where the carrier has a bound for a message. */
import type { EventBody } from "./bus.js";

/** An id with its revision takes less than 64 bytes, so that a message stays under half a MiB. */
export const MOST_IDS_PER_MESSAGE = 5_000;

/** The same event in parts of at most 5,000 ids each, in their order. */
export function splitEvent(event: EventBody): EventBody[] {
  switch (event.$case) {
    case "invocations":
      return parts(event.value.invocations).map((invocations) => ({ $case: "invocations", value: { invocations } }));
    case "interruptions":
      return parts(event.value.schedulerIds).map((schedulerIds) => ({
        $case: "interruptions",
        value: { schedulerIds },
      }));
    case "logs":
      return parts(event.value.executionIds).map((executionIds) => ({ $case: "logs", value: { executionIds } }));
    case "queue":
    case "project":
      return [event];
  }
}

function parts<T>(items: T[]): T[][] {
  if (items.length <= MOST_IDS_PER_MESSAGE) return [items];
  const count = Math.ceil(items.length / MOST_IDS_PER_MESSAGE);
  return Array.from({ length: count }, (_, index) =>
    items.slice(index * MOST_IDS_PER_MESSAGE, (index + 1) * MOST_IDS_PER_MESSAGE),
  );
}
