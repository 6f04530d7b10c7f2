import { expect, it } from "vitest";
import type { EventBody } from "./bus.js";
import { MOST_IDS_PER_MESSAGE, splitEvent } from "./split.js";

const ids = (count: number) => Array.from({ length: count }, (_, index) => `exe-${index}`);

it("leaves an event as it is that is not too large", () => {
  const small: EventBody[] = [
    { $case: "queue", value: {} },
    { $case: "project", value: { projectName: "p" } },
    { $case: "logs", value: { executionIds: ids(MOST_IDS_PER_MESSAGE) } },
    { $case: "invocations", value: { invocations: [] } },
  ];
  for (const event of small) expect(splitEvent(event)).toEqual([event]);
});

it("splits a large one, without losing an id or their order", () => {
  const all = ids(2 * MOST_IDS_PER_MESSAGE + 1);
  const logs = splitEvent({ $case: "logs", value: { executionIds: all } });
  expect(logs.map((part) => (part.$case === "logs" ? part.value.executionIds.length : 0))).toEqual([
    MOST_IDS_PER_MESSAGE,
    MOST_IDS_PER_MESSAGE,
    1,
  ]);
  expect(logs.flatMap((part) => (part.$case === "logs" ? part.value.executionIds : []))).toEqual(all);
  expect(splitEvent({ $case: "interruptions", value: { schedulerIds: all } })).toHaveLength(3);
  const invocations = all.map((invocationId) => ({ invocationId, revision: 1, finished: false, terminated: false }));
  expect(splitEvent({ $case: "invocations", value: { invocations } })).toHaveLength(3);
});
