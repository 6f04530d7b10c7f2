/** ListLogs and FollowLogs: what the executions of an invocation printed. */
import type { LogLine, LogServiceImplementation } from "../../../gen/multinode/invocation/v1/log_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { Refusal } from "../../platform/errors.js";
import { fitting, pageSizeOf } from "../../platform/page_offset.js";
import type { Caller, Principal } from "../../platform/rpc/principal.js";
import { parse } from "../../platform/rpc/validation.js";
import type { ReadTransaction } from "../../platform/store/db.js";
import { requested, requireKey } from "../access.js";
import type { InvocationDeps } from "../deps.js";
import { LogFollower } from "../log_follower.js";
import { followLogsRequest, listLogsRequest, type OneInvocation } from "../requests.js";
import type { LogLineRow } from "../store.js";

/** Lines in one message of FollowLogs. */
const FOLLOW_LINES = 500;
/** What a line takes beside its text. */
const LINE_BYTES = 100;
/** How often a follower looks for itself, hints or not. */
const LOOK_INTERVAL_MS = 2_000;

type LogRequest = OneInvocation & { executionId: string };

export function logHandlers(deps: InvocationDeps): LogServiceImplementation<Caller> {
  const { db, store, offsets, bus } = deps;
  return {
    async listLogs(message, { principal }) {
      requireKey(principal);
      const request = parse(listLogsRequest, message);
      const pageSize = pageSizeOf(request.pageSize, LIMITS.maxPageSize);
      const listing = ["logs", request.invocationId, request.executionId];
      const position = offsets.decode(listing, request.offset);
      return await db.read(async (tx) => {
        const { executionIds } = await executionsOf(deps, tx, request, principal);
        const lines: LogLineRow[] = [];
        const [fromId = "", fromLine = "0"] = position?.split("#") ?? [];
        for (const id of executionIds) {
          if (executionIds.indexOf(id) < executionIds.indexOf(fromId)) continue;
          const after = id === fromId ? Number(fromLine) : 0;
          lines.push(...(await store.loadLogs(tx, id, after, pageSize + 1 - lines.length)));
          if (lines.length > pageSize) break;
        }
        const page = fitting(lines.slice(0, pageSize), lineBytes);
        const last = page.at(-1);
        const isLast = page.length === lines.length || last === undefined;
        const nextOffset = isLast ? "" : offsets.encode(listing, `${last.executionId}#${last.lineNumber}`);
        return { lines: page.map(toLine), nextOffset };
      });
    },

    async *followLogs(message, { principal, signal }) {
      requireKey(principal);
      const request = parse(followLogsRequest, message);
      const follower = new LogFollower(bus, request.invocationId);
      const sent = new Map<string, number>();
      try {
        let quietSince = performance.now();
        while (!signal.aborted) {
          follower.arm();
          const { lines, terminated } = await db.read(async (tx) => {
            const { executionIds, terminated } = await executionsOf(deps, tx, request, principal);
            follower.executionIds = executionIds;
            const lines: LogLineRow[] = [];
            for (const id of executionIds) {
              lines.push(...(await store.loadLogs(tx, id, sent.get(id) ?? 0, FOLLOW_LINES - lines.length)));
              if (lines.length >= FOLLOW_LINES) break;
            }
            return { lines: fitting(lines, lineBytes), terminated };
          });
          if (lines.length > 0) {
            for (const { executionId, lineNumber } of lines) sent.set(executionId, lineNumber);
            yield { lines: lines.map(toLine) };
            quietSince = performance.now();
            continue;
          }
          if (terminated) return;
          const quietMs = performance.now() - quietSince;
          if (quietMs >= LIMITS.heartbeatIntervalMs) {
            yield { lines: [] };
            quietSince = performance.now();
          }
          await follower.wait(Math.min(LOOK_INTERVAL_MS, Math.max(0, LIMITS.heartbeatIntervalMs - quietMs)), signal);
        }
      } finally {
        follower.close();
      }
    },
  };
}

/** Executions whose lines are wanted, oldest first. */
async function executionsOf(
  deps: InvocationDeps,
  tx: ReadTransaction,
  request: LogRequest,
  principal: Principal,
): Promise<{ executionIds: string[]; terminated: boolean }> {
  const [stored] = await deps.store.load(tx, [request.invocationId]);
  const { life } = requested(stored, request, principal);
  const ids = (await deps.store.loadEnded(tx, request.invocationId)).map(({ id }) => id);
  if (life.current !== null) ids.push(life.current.id);
  if (request.executionId === "") return { executionIds: ids, terminated: life.terminated };
  if (!ids.includes(request.executionId)) {
    const message = `execution "${request.executionId}" is not one of ${request.invocationId}`;
    throw new Refusal("ExecutionDoesNotExist", message, { metadata: { executionId: request.executionId } });
  }
  return { executionIds: [request.executionId], terminated: life.terminated };
}

/** Its size in a message, roughly. */
function lineBytes({ text }: LogLineRow): number {
  return LINE_BYTES + Buffer.byteLength(text);
}

function toLine({ stream, printed, ...line }: LogLineRow): LogLine {
  return { ...line, stream: stream as LogLine["stream"], printed: printed === 1 ? true : undefined };
}
