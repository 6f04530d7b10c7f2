import { expect, test } from "vitest";
import { toInvocation } from "./convert.js";
import { NEW_LIFE } from "./domain/life.js";
import { advance } from "./domain/transitions.js";
import type { StoredInvocation } from "./store.js";

const IDENTITY: StoredInvocation["identity"] = {
  id: "inv-1",
  projectId: "prj-1",
  projectName: "shop",
  functionName: "pay",
  versionId: "ver-1",
  parentId: null,
  depth: 0,
  createdAt: 1,
  expiresAt: null,
};

test("only a message that is asked for executions has them, the current one included", () => {
  const policy = { timeoutMs: 1, maxRetries: 0, retryDelayMs: () => 0 };
  const leased = advance(NEW_LIFE, { type: "lease", executionId: "exe-1", schedulerId: "sch-1" }, 2, policy);
  if (typeof leased === "string") throw new Error(leased);
  const stored: StoredInvocation = { identity: IDENTITY, life: leased.life };
  expect(toInvocation(stored).executions).toEqual([]);
  expect(toInvocation(stored, []).executions).toMatchObject([{ executionId: "exe-1", attemptNumber: 1 }]);
});
