/** Wire messages of schedulers as checked commands. */
import { z } from "zod";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { idField, text } from "../../platform/rpc/validation.js";

const schedulerId = idField("sch");
const workerIdOrNone = z.union([z.literal(""), idField("wrk")]).default("");
const leaseDurationMs = z.number().int().min(LIMITS.leaseDurationMinMs).max(LIMITS.leaseDurationMaxMs);

const leaseFields = {
  schedulerId,
  maxCount: z.number().int().min(0).max(LIMITS.executionsPerLease),
  leaseDurationMs,
  excludedQueues: z
    .array(text(1, 200))
    .max(LIMITS.excludedQueues)
    .transform((queues): ReadonlySet<string> => new Set(queues)),
  waitMs: z.number().int().min(0).max(30_000),
};

export const leaseRequest = z.object(leaseFields);

export const streamLeasesRequest = z.object({
  ...leaseFields,
  receivedCount: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
});

export const renewRequest = z.object({ schedulerId, leaseDurationMs });

export const listInterruptionsRequest = z.object({ schedulerId });

export const listLeasesRequest = z.object({ schedulerId });

export const adoptRequest = z.object({
  schedulerId,
  leaseDurationMs,
  executions: z
    .array(z.object({ executionToken: z.string().max(200), workerId: workerIdOrNone }))
    .max(LIMITS.workersPerRequest),
});

export const findOwnersRequest = z.object({
  schedulerId,
  workers: z.array(z.object({ workerId: text(1, 100), schedulerId: text(0, 100) })).max(LIMITS.workersPerRequest),
});
