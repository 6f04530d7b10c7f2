/** StartInvocation, BatchStartInvocations and StreamStartInvocations: from requests to stored invocations. */
import { hash } from "node:crypto";
import {
  BatchStartInvocationsRequest,
  BatchStartInvocationsResponse,
  type InvocationServiceImplementation,
  type StartInvocationRequest,
  type StartOutcome,
} from "../../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { badRequest, Refusal } from "../../platform/errors.js";
import { requireProject } from "../../platform/rpc/access.js";
import { toRpcStatus } from "../../platform/rpc/error_status.js";
import type { Caller, Principal } from "../../platform/rpc/principal.js";
import { parse, show } from "../../platform/rpc/validation.js";
import { together, type WriteTransaction } from "../../platform/store/db.js";
import { DirectLease } from "../admission/direct_lease.js";
import { isToBeStored, resolveStarts } from "../admission/resolve.js";
import { openStarts, type Started, storeStarts } from "../admission/store_starts.js";
import type { InvocationDeps } from "../deps.js";
import { inputBytes, parseStart, requestIdField, type StartCommand } from "../requests.js";
import type { StoredInvocation } from "../store.js";

type Handlers = Pick<
  InvocationServiceImplementation<Caller>,
  "startInvocation" | "batchStartInvocations" | "streamStartInvocations"
>;

export function startHandlers(deps: InvocationDeps): Handlers {
  return {
    async startInvocation(request, { principal, signal }) {
      const [command] = parseAll(deps, [request], principal);
      if (command === undefined || command instanceof Refusal) throw command;
      const [resolved] = await resolveStarts(deps, [command], principal, signal);
      if (typeof resolved === "string") return { invocationId: resolved };
      if (!isToBeStored(resolved)) throw resolved;
      const [started] = await storing(deps, 1, async (tx, direct) => {
        const opened = await openStarts(deps, tx, [resolved], direct);
        const { outcomes, stored } = await storeStarts(deps, tx, [resolved], opened, principal, direct);
        return { value: outcomes, stored };
      });
      if (started === undefined || started instanceof Refusal) throw started;
      return { invocationId: started };
    },

    async batchStartInvocations(request, { principal, signal }) {
      return { outcomes: await startBatch(deps, request, principal, signal) };
    },

    async *streamStartInvocations(requests, { principal, signal }) {
      for await (const { batch } of requests) {
        if (batch === undefined) throw badRequest([{ field: "batch", description: "is required" }]);
        yield { requestId: batch.requestId, outcomes: await startBatch(deps, batch, principal, signal) };
      }
    },
  };
}

async function startBatch(
  deps: InvocationDeps,
  request: BatchStartInvocationsRequest,
  principal: Principal,
  signal: AbortSignal,
): Promise<StartOutcome[]> {
  const { requestId } = parse(requestIdField, { requestId: request.requestId });
  checkBatch(request.requests);
  const commands = parseAll(deps, request.requests, principal);
  const resolved = await resolveStarts(deps, commands, principal, signal);
  const once = requestId === "" ? undefined : new OnceOnly(deps, request, principal);
  return await storing(deps, commands.length, async (tx, direct) => {
    const [earlier, opened] = await together([once?.earlier(tx), openStarts(deps, tx, resolved, direct)]);
    if (earlier !== undefined) return { value: earlier, stored: [] };
    const { outcomes, stored } = await storeStarts(deps, tx, resolved, opened, principal, direct);
    const value = toOutcomes(outcomes);
    once?.remember(tx, value);
    return { value, stored };
  });
}

/** Runs the transaction of a start, and takes along a scheduler that waits for something to lease. */
async function storing<T>(
  deps: InvocationDeps,
  count: number,
  store: (
    tx: WriteTransaction,
    direct: DirectLease | undefined,
  ) => Promise<{ value: T; stored: readonly StoredInvocation[] }>,
): Promise<T> {
  const claim = deps.parked.claim(count);
  let direct: DirectLease | undefined;
  // What is leased with its start may run before the start is durable: were it lost, nobody would have been told of it.
  const committed = () => {
    if (claim === undefined || direct === undefined) return;
    deps.running.leased(direct.leased);
    claim.settle(direct.executions);
  };
  try {
    const writing = deps.db.write(
      (tx) => {
        // Anew in each run: only what the last one leased is stored.
        direct = claim && new DirectLease(deps, claim.command);
        return store(tx, direct);
      },
      { committed },
    );
    // The others join the commit where it may bring something that this one does not take.
    const { maxCount = 0, excludedQueues } = claim?.command ?? {};
    if (count > maxCount || (excludedQueues?.size ?? 0) > 0) deps.parked.coming(count);
    const { value, stored } = await writing;
    deps.announcer.started(stored);
    return value;
  } catch (error) {
    claim?.settle([]);
    throw error;
  }
}

function checkBatch(requests: readonly StartInvocationRequest[]): void {
  const count = requests.length;
  const refuse = (description: string): never => {
    throw badRequest([{ field: "requests", description }]);
  };
  if (count < 1 || count > LIMITS.startsPerBatch) refuse(`${count} items is not from 1 to ${LIMITS.startsPerBatch}`);
  let bytes = 0;
  for (const request of requests) bytes += inputBytes(request.arguments);
  if (bytes > LIMITS.startBatchBytes) {
    refuse(`${bytes} bytes of arguments in all is above ${LIMITS.startBatchBytes}: send several batches`);
  }
}

function parseAll(
  deps: InvocationDeps,
  requests: readonly StartInvocationRequest[],
  principal: Principal,
): (StartCommand | Refusal)[] {
  const scope = principal.kind === "execution" ? principal : undefined;
  return requests.map((request) =>
    refusalOr(() => {
      requireProject(principal, request);
      return parseStart(request, scope, deps.limits.payloadBytes);
    }),
  );
}

function refusalOr<T>(work: () => T): T | Refusal {
  try {
    return work();
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

function toOutcomes(started: readonly Started[]): StartOutcome[] {
  return started.map((outcome) => ({
    outcome:
      typeof outcome === "string"
        ? { $case: "invocationId", value: outcome }
        : { $case: "error", value: toRpcStatus(outcome) },
  }));
}

/** A request that comes again, because its answer was lost, is answered as it was the first time. */
class OnceOnly {
  readonly #deps: InvocationDeps;
  readonly #requestId: string;
  /** What it is kept under. */
  readonly #place: string;
  readonly #bodyHash: Buffer;

  constructor(deps: InvocationDeps, request: BatchStartInvocationsRequest, principal: Principal) {
    this.#deps = deps;
    this.#requestId = request.requestId;
    this.#place = placeOf(request.requestId, principal);
    this.#bodyHash = hashOf(request, principal);
  }

  async earlier(tx: WriteTransaction): Promise<StartOutcome[] | undefined> {
    const earlier = await this.#deps.store.findRequest(tx, this.#place);
    if (earlier === undefined) return undefined;
    if (!this.#bodyHash.equals(earlier.bodyHash)) {
      const message = `the request id ${show(this.#requestId)} was used for another request`;
      throw new Refusal("IdempotencyKeyReused", message, { metadata: { idempotencyKey: this.#requestId } });
    }
    return BatchStartInvocationsResponse.decode(earlier.outcomes).outcomes;
  }

  remember(tx: WriteTransaction, outcomes: StartOutcome[]): void {
    const encoded = BatchStartInvocationsResponse.encode({ outcomes }).finish();
    this.#deps.store.putRequest(tx, {
      requestId: this.#place,
      bodyHash: this.#bodyHash,
      outcomes: encoded,
      createdAt: this.#deps.clock.now(),
    });
  }
}

function hashOf(request: BatchStartInvocationsRequest, principal: Principal): Buffer {
  const caller = callerOf(principal);
  const body = BatchStartInvocationsRequest.encode(request).finish();
  return hash("sha256", Buffer.concat([Buffer.from(`${caller}:`), body]), "buffer");
}

/**
 * Where a request id is kept. Who does not see all projects has a place of his own, so that nobody learns of another's ids, or
 * takes them: longer than the ids themselves may be.
 */
function placeOf(requestId: string, principal: Principal): string {
  const caller = callerOf(principal);
  return caller === "key" ? requestId : `${caller}:${hash("sha512", requestId)}`;
}

/** Who may be answered with what another request was: keys that the same exists for are alike. */
function callerOf(principal: Principal): string {
  if (principal.kind === "execution") return principal.executionId;
  return principal.kind === "key" && principal.projectName !== "" ? `key of ${principal.projectName}` : principal.kind;
}
