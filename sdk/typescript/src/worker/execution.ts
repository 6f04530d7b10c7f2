import { isGenerator } from "../definition/call_local.js";
import { type RunningExecution, runInContext } from "../definition/context.js";
import type { DefinedFunction } from "../definition/function.js";
import { isNonRetryable } from "../non_retryable.js";
import { checkPayloadSize, decodeArguments, encodeText, type TextPayload } from "../values/codec.js";
import { errorText, stackText } from "./error_text.js";
import { ExecutionLog } from "./execution_log.js";
import { interruptionError } from "./interruption.js";
import { type AssignMessage, type InterruptKind, monotonicMs, type Outcome, posted } from "./messages.js";
import type { Outbox } from "./outbox.js";
import type { YieldFlow } from "./yield_flow.js";

/** What an execution needs of the worker. */
export interface ExecutionHost {
  readonly outbox: Outbox;
  readonly yieldFlow: YieldFlow;
  readonly onEnded: (execution: Execution) => void;
}

/** What is the same for all executions of a worker. */
export interface ExecutionSettings {
  readonly projectName: string;
  readonly versionId: string;
  readonly functionName: string;
  readonly apiUrl: string;
  readonly maxPayloadBytes: number;
}

type Runnable = Pick<DefinedFunction, "handler" | "parseInput" | "parseOutput">;

/** One execution in the main thread, from its assignment to its end. It ends once. */
export class Execution {
  readonly id: string;
  readonly log: ExecutionLog;
  readonly #assignment: AssignMessage;
  readonly #host: ExecutionHost;
  readonly #controller = new AbortController();
  #state: "waiting" | "running" | "ended" = "waiting";
  /** The interruption that a generator has not been given yet. */
  #toThrowIn: Error | undefined;
  /** No attempt can begin with it. */
  #isInputWrong = false;

  constructor(assignment: AssignMessage, host: ExecutionHost) {
    this.id = assignment.executionId;
    this.#assignment = assignment;
    this.#host = host;
    this.log = new ExecutionLog(this.id, (lines) => host.outbox.pushNow({ kind: "lines", lines }));
  }

  /** Whether its user code has not begun to run. */
  get isWaiting(): boolean {
    return this.#state === "waiting";
  }

  /** Whether it is too late to begin: it waits for its interruption, which is on its way. */
  get isLate(): boolean {
    return monotonicMs() >= (this.#assignment.beginBy ?? Number.POSITIVE_INFINITY);
  }

  /** Runs the function. Never rejects. */
  async run(target: Runnable, settings: ExecutionSettings): Promise<void> {
    if (this.#state !== "waiting") return;
    this.#state = "running";
    try {
      const value = await runInContext(this.#running(settings), () => this.#call(target, settings.maxPayloadBytes));
      this.#end({ kind: "returned", value });
    } catch (error) {
      this.fail(error);
    }
  }

  /** Delivers an interruption to user code. Before user code runs it is the end. */
  interrupt(kind: InterruptKind): void {
    if (this.#controller.signal.aborted || this.#state === "ended") return;
    const reason = interruptionError(kind);
    this.#toThrowIn = reason;
    this.#controller.abort(reason);
    if (this.#state === "waiting") this.#end({ kind: "threw", error: errorText(reason) });
  }

  /** Ends the execution with an error, unless it has ended. */
  fail(error: unknown): void {
    if (this.#state === "ended") return;
    const isOwnReason = error === this.#controller.signal.reason;
    // After what was printed before it was thrown, a line that has no end included.
    this.log.flush();
    if (!isOwnReason) this.log.system(stackText(error));
    this.#end({ kind: "threw", error: errorText(error), nonRetryable: this.#isInputWrong || isNonRetryable(error) });
  }

  async #call(target: Runnable, maxPayloadBytes: number): Promise<TextPayload | undefined> {
    const { positional, named } = decodeArguments(this.#assignment.arguments);
    const args = await target
      .parseInput(named === undefined ? positional : [...positional, named])
      .catch((error: unknown) => {
        this.#isInputWrong = error instanceof Error && Reflect.get(error, "reason") === "FunctionInputIsInvalid";
        throw error;
      });
    this.#controller.signal.throwIfAborted();
    const returned: unknown = await target.handler(...(args as never[]));
    if (isGenerator(returned)) return this.#drive(returned, target, maxPayloadBytes);
    return encodeResult(await target.parseOutput(returned), "the result", maxPayloadBytes);
  }

  /** Iterates a generator, and answers the value that it returned. */
  async #drive(
    generator: AsyncGenerator | Generator,
    target: Runnable,
    maxPayloadBytes: number,
  ): Promise<TextPayload | undefined> {
    let step = await generator.next();
    let index = 1;
    for (; step.done !== true; index += 1) {
      try {
        const yielded = await target.parseOutput(await step.value);
        const value = encodeValue(yielded, `the value of yield number ${index}`, maxPayloadBytes);
        this.#host.yieldFlow.send({ kind: "yielded", executionId: this.id, index, value });
      } catch (error) {
        await close(generator);
        throw error;
      }
      await this.#host.yieldFlow.next();
      const interruption = this.#toThrowIn;
      this.#toThrowIn = undefined;
      step = await (interruption === undefined ? generator.next() : generator.throw(interruption));
    }
    // The value that it yielded last stays its result.
    if (step.value === undefined && index > 1) return undefined;
    return encodeResult(await target.parseOutput(step.value), "the result", maxPayloadBytes);
  }

  #running(settings: ExecutionSettings): RunningExecution {
    const { invocationId, attemptNumber, parentInvocationId, executionToken } = this.#assignment;
    return {
      context: {
        projectName: settings.projectName,
        versionId: settings.versionId,
        functionName: settings.functionName,
        invocationId,
        executionId: this.id,
        attemptNumber,
        parentInvocationId: parentInvocationId === "" ? undefined : parentInvocationId,
        signal: this.#controller.signal,
        logger: this.log.logger(),
      },
      apiUrl: settings.apiUrl,
      maxPayloadBytes: settings.maxPayloadBytes,
      executionToken,
    };
  }

  #end(outcome: Outcome): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.log.flush();
    const interrupted = this.#controller.signal.aborted;
    this.#host.outbox.push({ kind: "ended", executionId: this.id, outcome, interrupted });
    this.#host.onEnded(this);
  }
}

/** Lets a generator clean up after itself; what it does then no longer matters. */
async function close(generator: AsyncGenerator | Generator): Promise<void> {
  try {
    await generator.return(undefined);
  } catch {
    // The error that closes it is the one to report.
  }
}

function encodeResult(value: unknown, what: string, maxPayloadBytes: number): TextPayload | undefined {
  return value === undefined ? undefined : encodeValue(value, what, maxPayloadBytes);
}

function encodeValue(value: unknown, what: string, maxPayloadBytes: number): TextPayload {
  const encoded = encodeText(value);
  checkPayloadSize(encoded, what, maxPayloadBytes);
  return posted(encoded);
}
