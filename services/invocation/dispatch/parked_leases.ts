/**
 * Schedulers that wait for something to lease. A start takes one of them along: what it stores is then leased in the same
 * row and with the same commit, so that a call waits for the disk once for its start and its lease together. The others are
 * woken when a change that may bring them something is on its way to the store, so that their lease joins its commit.
 *
 * K1. What happens after `round` was read and before `wait` is called is not missed.
 * K2. A claim is either delivered or given back.
 * K3. Of one scheduler only the newest request waits, by the order in which they came: it asks for what there is room for now.
 */
import type { LeasedExecution } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import type { Bus } from "../../platform/bus/bus.js";

export interface LeaseCommand {
  readonly schedulerId: string;
  readonly maxCount: number;
  readonly leaseDurationMs: number;
  /** "projectId/functionName" */
  readonly excludedQueues: ReadonlySet<string>;
}

/**
 * Executions: they were leased for the one who waits. "coming": a change is on its way to the store. "look": something may
 * have changed. "over": the time is over. "replaced": the same scheduler asks anew. "closed": this service stops.
 */
export type WakeReason = readonly LeasedExecution[] | "coming" | "look" | "over" | "replaced" | "closed";

interface Waiting {
  readonly command: LeaseCommand;
  end(reason: WakeReason): void;
}

export interface Claim {
  readonly command: LeaseCommand;
  deliver(executions: readonly LeasedExecution[]): void;
  giveBack(): void;
}

export class ParkedLeases {
  readonly #waiting = new Set<Waiting>();
  /** The newest request of each scheduler that has one under way. */
  readonly #newest = new Map<string, LeaseCommand>();
  readonly #unsubscribe: () => void;
  #round = 0;
  #comingRound = 0;
  #isClosed = false;

  constructor(bus: Bus) {
    const look = () => this.#wake("look");
    this.#unsubscribe = bus.subscribe("queue", look, look);
  }

  get round(): number {
    return this.#round;
  }

  /** To be called in the same turn in which the change was handed to the store. */
  coming(): void {
    this.#comingRound = this.#round + 1;
    this.#wake("coming");
  }

  /** Takes the scheduler that has waited longest, if any waits. */
  claim(): Claim | undefined {
    const [first] = this.#waiting;
    if (first === undefined) return undefined;
    this.#waiting.delete(first);
    return {
      command: first.command,
      deliver: (executions) => first.end(executions),
      giveBack: () => {
        // What the start stored all the same is not announced where its answer was lost.
        this.#round += 1;
        first.end("look");
      },
    };
  }

  /** A request has come: whatever the same scheduler asked for before waits no more (K3). */
  begin(command: LeaseCommand): void {
    this.#newest.set(command.schedulerId, command);
    for (const other of Array.from(this.#waiting)) {
      if (other.command.schedulerId === command.schedulerId) other.end("replaced");
    }
  }

  /** It is answered. */
  end(command: LeaseCommand): void {
    if (this.#newest.get(command.schedulerId) === command) this.#newest.delete(command.schedulerId);
  }

  /** Between `begin` and `end`. */
  async wait(command: LeaseCommand, round: number, atMostMs: number, signal: AbortSignal): Promise<WakeReason> {
    if (this.#isClosed) return "closed";
    if (round !== this.#round) return this.#comingRound > round ? "coming" : "look";
    if (this.#newest.get(command.schedulerId) !== command) return "replaced";
    return await new Promise((resolve) => {
      const waiting: Waiting = {
        command,
        end: (reason) => {
          clearTimeout(timer);
          signal.removeEventListener("abort", over);
          this.#waiting.delete(waiting);
          resolve(reason);
        },
      };
      const over = () => {
        // One that was claimed is answered by its claim.
        if (this.#waiting.has(waiting)) waiting.end("over");
      };
      const timer = setTimeout(over, atMostMs);
      signal.addEventListener("abort", over);
      this.#waiting.add(waiting);
    });
  }

  /** Nobody waits any more, nor does whoever comes later. */
  close(): void {
    this.#isClosed = true;
    this.#unsubscribe();
    this.#wake("closed");
  }

  #wake(reason: WakeReason): void {
    this.#round += 1;
    const waiting = Array.from(this.#waiting);
    for (const each of waiting) each.end(reason);
  }
}
