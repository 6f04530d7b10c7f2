/** An InvocationService in memory, behind a real gRPC server on 127.0.0.1. Tests decide what becomes of each invocation. */
import { type CallContext, Status as Code, createServer, type Server, ServerError } from "nice-grpc";
import { ErrorInfo } from "../../../../gen/google/rpc/error_details.pb.js";
import { Status as RpcStatus } from "../../../../gen/google/rpc/status.pb.js";
import { Invocation, Status } from "../../../../gen/multinode/invocation/v1/invocation.pb.js";
import {
  type BatchStartInvocationsRequest,
  InvocationServiceDefinition,
  type InvocationServiceImplementation,
  type StartInvocationRequest,
  type StartOutcome,
  type StreamStartInvocationsRequest,
  WatchDetail,
  type WatchInvocationsRequest,
  type WatchTarget,
  WatchUntil,
} from "../../../../gen/multinode/invocation/v1/invocation_service.pb.js";
import { isId } from "../protocol/names.js";
import { ERROR_DOMAIN, REASON_STATUS, type Reason } from "../protocol/reasons.js";
import { decodeArguments, encode } from "../values/codec.js";

const FINISHED: ReadonlySet<Status> = new Set([Status.SUCCEEDED, Status.FAILED, Status.CANCELLED, Status.TIMED_OUT]);

type Change = Partial<Pick<Invocation, "status" | "error" | "terminated" | "cancelRequestTimeMs">> & {
  result?: unknown;
};
type AutoFinish = (args: unknown[], id: string) => Change | undefined;

/** One watch stream that is open. */
interface Watcher {
  readonly targets: Map<string, WatchTarget>;
  readonly changed: Set<string>;
  wake: (() => void) | undefined;
}

export class FakeServer {
  /** Sizes of the batches of starts, in the order of their coming. */
  readonly batches: number[] = [];
  readonly requestIds: string[] = [];
  readonly starts: StartInvocationRequest[] = [];
  /** Every message that came on a watch stream. */
  readonly watchRequests: WatchInvocationsRequest[] = [];
  readonly cancelled: string[] = [];
  /** Whether the next cancellation is carried out, and its answer lost. */
  losesCancelAnswer = false;
  readonly credentials = new Set<string>();
  /** What a gateway chooses a replica by, of each batch. */
  readonly affinities: string[] = [];
  streamsOpened = 0;
  openStartStreams = 0;
  /** Streams, of starts and of watches, that their client broke off. */
  streamsBroken = 0;
  /** What becomes of an invocation as soon as it is stored. Default: nothing. */
  autoFinish: AutoFinish = () => undefined;
  /** Called before each batch; may throw. */
  beforeBatch: (request: BatchStartInvocationsRequest) => Promise<void> | void = () => undefined;
  /** Refuses one start of a batch. */
  refuse: (request: StartInvocationRequest) => Reason | undefined = () => undefined;
  /** Whether the details of such a refusal are no message. */
  refusalsAreDamaged = false;
  /** Whether a replica that a gateway would choose by this affinity says nothing, to whatever it is asked. */
  standsStill: (affinity: string) => boolean = () => false;
  /** Calls that came to such a replica. */
  stillCalls = 0;
  /** Refuses every watch stream. */
  refuseWatches: Reason | undefined = undefined;
  readonly #invocations = new Map<string, Invocation>();
  readonly #byRequest = new Map<string, StartOutcome[]>();
  readonly #watchers = new Set<Watcher>();
  #server: Server | undefined;
  #port = 0;
  #next = 1;

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  get openStreams(): number {
    return this.#watchers.size;
  }

  /** Listens: on any port the first time, and on the same one after `stop`. */
  async listen(): Promise<void> {
    this.#server = createServer();
    this.#server.add(InvocationServiceDefinition, this.#implementation());
    this.#port = await this.#server.listen(`127.0.0.1:${this.#port}`);
  }

  /** Breaks every connection; what is stored stays. */
  stop(): void {
    this.#server?.forceShutdown();
    this.#server = undefined;
  }

  get(id: string): Invocation {
    const found = this.#invocations.get(id);
    if (found === undefined) throw new Error(`there is no ${id}`);
    return found;
  }

  /** Stores a change with the next revision and tells the watchers. */
  change(id: string, { result, ...change }: Change): void {
    const { revision, ...before } = this.get(id);
    const payload = result === undefined ? before.result : encode(result);
    this.#invocations.set(id, { ...before, ...change, result: payload, revision: revision + 1 });
    for (const watcher of this.#watchers) {
      watcher.changed.add(id);
      watcher.wake?.();
    }
  }

  succeed(id: string, result: unknown): void {
    this.change(id, { status: Status.SUCCEEDED, terminated: true, result });
  }

  #implementation(): InvocationServiceImplementation {
    return {
      startInvocation: async (request) => ({ invocationId: this.#store(request) }),
      batchStartInvocations: (request, context) => this.#startBatch(request, context),
      streamStartInvocations: (requests, context) => this.#startStream(requests, context),
      getInvocation: async ({ invocationId, functionName }, context) => {
        await this.#answers(context);
        const invocation = this.#find(invocationId, context);
        const isOfOther = functionName !== "" && invocation.functionName !== functionName;
        if (isOfOther) throw refusal("InvocationDoesNotExist", context);
        return { invocation };
      },
      listInvocations: async (request) => {
        const all = [...this.#invocations.values()]
          .reverse()
          .filter((each) => each.functionName === request.functionName)
          .filter((each) => request.versionId === "" || each.versionId === request.versionId);
        const from = Number(request.offset || 0);
        const size = request.pageSize || 50;
        const nextOffset = from + size < all.length ? String(from + size) : "";
        return { invocations: all.slice(from, from + size), nextOffset };
      },
      cancelInvocation: async ({ invocationId }, context) => {
        this.cancelled.push(invocationId);
        if (this.#find(invocationId, context).terminated) throw refusal("InvocationIsAlreadyTerminated", context);
        this.change(invocationId, { status: Status.CANCELLED, terminated: true, cancelRequestTimeMs: 2_000 });
        if (this.losesCancelAnswer) {
          this.losesCancelAnswer = false;
          throw unavailable();
        }
        return { invocation: this.get(invocationId) };
      },
      watchInvocations: (requests, context) => this.#watch(requests, context),
    };
  }

  async *#startStream(requests: AsyncIterable<StreamStartInvocationsRequest>, context: CallContext) {
    context.signal.addEventListener("abort", () => {
      this.streamsBroken += 1;
    });
    this.openStartStreams += 1;
    try {
      for await (const { batch } of requests) {
        if (batch === undefined) throw new ServerError(Code.INVALID_ARGUMENT, "a batch is missing");
        yield { requestId: batch.requestId, ...(await this.#startBatch(batch, context)) };
      }
    } finally {
      this.openStartStreams -= 1;
    }
  }

  async #startBatch(request: BatchStartInvocationsRequest, context: CallContext) {
    this.requestIds.push(request.requestId);
    this.batches.push(request.requests.length);
    this.credentials.add(context.metadata.get("authorization") ?? "");
    this.affinities.push(affinityOf(context));
    await this.#answers(context);
    await this.beforeBatch(request);
    let outcomes = this.#byRequest.get(request.requestId);
    if (outcomes === undefined) {
      outcomes = request.requests.map((each): StartOutcome => {
        const reason = this.refuse(each);
        return reason === undefined
          ? { outcome: { $case: "invocationId", value: this.#store(each) } }
          : { outcome: { $case: "error", value: this.refusalsAreDamaged ? damaged(reason) : statusOf(reason) } };
      });
      this.#byRequest.set(request.requestId, outcomes);
    }
    return { outcomes };
  }

  /** Resolves where the replica does not stand still; else rejects when the caller gives up. */
  async #answers(context: CallContext): Promise<void> {
    if (!this.standsStill(affinityOf(context))) return;
    this.stillCalls += 1;
    await new Promise((_, reject) => context.signal.addEventListener("abort", () => reject(unavailable())));
  }

  #store(request: StartInvocationRequest): string {
    const id = `inv-${String(this.#next).padStart(26, "0")}`;
    this.#next += 1;
    this.starts.push(request);
    const invocation = Invocation.fromPartial({
      invocationId: id,
      projectName: request.projectName,
      functionName: request.functionName,
      versionId: request.versionId,
      status: Status.PENDING,
      revision: 1,
      createTimeMs: 1_000,
    });
    this.#invocations.set(id, invocation);
    const { positional, named } = request.arguments ?? {};
    const change = this.autoFinish(decodeArguments({ positional, named }).positional, id);
    if (change !== undefined) this.change(id, change);
    return id;
  }

  #find(id: string, context: CallContext): Invocation {
    const found = this.#invocations.get(id);
    if (found === undefined) throw refusal("InvocationDoesNotExist", context, { invocationId: id });
    return found;
  }

  async *#watch(requests: AsyncIterable<WatchInvocationsRequest>, context: CallContext) {
    this.streamsOpened += 1;
    await this.#answers(context);
    if (this.refuseWatches !== undefined) throw refusal(this.refuseWatches, context);
    const watcher: Watcher = { targets: new Map(), changed: new Set(), wake: undefined };
    this.#watchers.add(watcher);
    let isOver = false;
    /** The client sends nothing more: what it follows is told to the end. */
    let isAllAsked = false;
    let isBad = false;
    const refused: string[] = [];
    const receive = async () => {
      for await (const request of requests) {
        this.watchRequests.push(request);
        isBad ||= request.add.some(({ invocationId }) => !isId("inv", invocationId));
        for (const id of request.remove) watcher.targets.delete(id);
        for (const target of request.add) {
          if (!this.#invocations.has(target.invocationId)) refused.push(target.invocationId);
          watcher.targets.set(target.invocationId, target);
          watcher.changed.add(target.invocationId);
        }
        watcher.wake?.();
      }
      isAllAsked = true;
      watcher.wake?.();
    };
    const receiving = receive().catch(() => undefined);
    context.signal.addEventListener("abort", () => {
      this.streamsBroken += 1;
      isOver = true;
      watcher.wake?.();
    });
    try {
      while (!isOver) {
        // As a whole, like the real one.
        if (isBad) throw refusal("ParameterValidationError", context);
        const refusals = refused.splice(0).map((invocationId) => {
          watcher.targets.delete(invocationId);
          return { invocationId, error: statusOf("InvocationDoesNotExist") };
        });
        const invocations = this.#news(watcher);
        if (invocations.length > 0 || refusals.length > 0) yield { invocations, refusals };
        else if (isAllAsked && watcher.targets.size === 0) return;
        else {
          await new Promise<void>((resolve) => {
            watcher.wake = resolve;
          });
        }
      }
      await receiving;
    } finally {
      this.#watchers.delete(watcher);
    }
  }

  #news(watcher: Watcher): Invocation[] {
    const news: Invocation[] = [];
    for (const id of watcher.changed) {
      const target = watcher.targets.get(id);
      const invocation = this.#invocations.get(id);
      if (target === undefined || invocation === undefined || invocation.revision <= target.afterRevision) continue;
      const isEnd = target.until === WatchUntil.TERMINATED ? invocation.terminated : FINISHED.has(invocation.status);
      if (target.detail === WatchDetail.END && !isEnd) continue;
      news.push(invocation);
      if (isEnd) watcher.targets.delete(id);
      else watcher.targets.set(id, { ...target, afterRevision: invocation.revision });
    }
    watcher.changed.clear();
    return news;
  }
}

function affinityOf({ metadata }: CallContext): string {
  return metadata.get("multinode-affinity") ?? "";
}

export function refusal(reason: Reason, context: CallContext, metadata: Record<string, string> = {}): ServerError {
  const status = statusOf(reason, metadata);
  context.trailer.set("grpc-status-details-bin", RpcStatus.encode(status).finish());
  return new ServerError(REASON_STATUS[reason], status.message);
}

export function unavailable(): ServerError {
  return new ServerError(Code.UNAVAILABLE, "going away");
}

function damaged(reason: Reason): RpcStatus {
  const status = statusOf(reason);
  return { ...status, details: status.details.map((detail) => ({ ...detail, value: Buffer.from([0xff]) })) };
}

function statusOf(reason: Reason, metadata: Record<string, string> = {}): RpcStatus {
  const info = { reason, domain: ERROR_DOMAIN, metadata };
  const value = Buffer.from(ErrorInfo.encode(ErrorInfo.fromPartial(info)).finish());
  const details = [{ typeUrl: "type.googleapis.com/google.rpc.ErrorInfo", value }];
  return { code: REASON_STATUS[reason], message: `refused: ${reason}`, details };
}
