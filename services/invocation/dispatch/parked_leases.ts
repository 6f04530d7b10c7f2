/**
 * Schedulers that wait for something to lease. A start takes one of them along: what it stores is then leased in the same
 * row and with the same commit, so that a call waits for the disk once for its start and its lease together. The others are
 * woken when a change that may bring them something is on its way to the store, so that their lease joins its commit.
 *
 * K1. What happens while a lease is open is not missed, whatever its scheduler is being given meanwhile.
 * K2. Every claim is settled, and a lease does not end before its claims.
 * K3. Of one scheduler only the newest request is open, by the order in which they came: it asks for what there is room for
 *     now. What is still on its way by the request before counts against it.
 * K4. No more is claimed for a request than it asked for, however many claims are under way, and nothing while its scheduler
 *     is slow to read what it was given.
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

export interface LeaseOptions {
  /** Of the request of the same scheduler before: what has reached it. Undefined: nothing is on its way. */
  readonly receivedCount?: number | undefined;
  /** Whether it is answered once, with all of one claim. */
  readonly isOnce?: boolean;
}

/** Some of what a request asks for. */
export interface Claim {
  /** Asks for no more than that. */
  readonly command: LeaseCommand;
  /** Delivers what was leased, and gives back the rest. Once: what is said after that changes nothing. */
  readonly settle: (executions: readonly LeasedExecution[]) => void;
}

/** Claims whose executions wait to be sent. One has 4 MiB of them at most. */
const MOST_UNSENT = 4;

/** One request, from when it is open to its end. */
export class ParkedLease {
  readonly command: LeaseCommand;
  /** Nothing more is claimed for it. */
  isEnding = false;
  /** A change is on its way to the store, which may bring so many. */
  coming = 0;
  /** Something may have changed. */
  isToLook = true;
  readonly #isOnce: boolean;
  readonly #delivered: LeasedExecution[][] = [];
  /** What may still be claimed. */
  #left: number;
  /** Claims under way, and for how many they are. */
  #claims = 0;
  #claimed = 0;
  /** Executions that were delivered. */
  #count = 0;
  #changed: (() => void) | undefined;

  constructor(command: LeaseCommand, left: number, isOnce: boolean) {
    this.command = command;
    this.#left = left;
    this.#isOnce = isOnce;
  }

  get left(): number {
    return this.isEnding || this.#delivered.length >= MOST_UNSENT ? 0 : this.#left;
  }

  /** Whether nothing is on its way to it. */
  get isSettled(): boolean {
    return this.#claims === 0 && this.#delivered.length === 0;
  }

  get hasAll(): boolean {
    return this.#count > 0 && this.#left === 0 && this.#claims === 0;
  }

  /** What its scheduler has been given or is about to be, beyond what has reached it. */
  onItsWay(receivedCount: number): number {
    return Math.max(0, this.#count + this.#claimed - receivedCount);
  }

  /** Takes as much as `count`, if that is left. */
  claim(count: number): Claim | undefined {
    const claimed = this.#isOnce ? this.left : Math.min(this.left, count);
    if (claimed === 0) return undefined;
    this.#left -= claimed;
    this.#claims += 1;
    this.#claimed += claimed;
    let isSettled = false;
    return {
      command: { ...this.command, maxCount: claimed },
      settle: (executions) => {
        if (isSettled) return;
        isSettled = true;
        this.#claims -= 1;
        this.#claimed -= claimed;
        this.#count += executions.length;
        if (executions.length > 0) this.#delivered.push([...executions]);
        if (!this.#isOnce || executions.length === 0) this.#left += claimed - executions.length;
        this.wake();
      },
    };
  }

  takeDelivered(): LeasedExecution[] | undefined {
    if (this.#delivered.length >= MOST_UNSENT) this.isToLook = true;
    return this.#delivered.shift();
  }

  wake(): void {
    this.#changed?.();
  }

  /** Until something changes, for a while at most. What has changed since the last answer of a method is not missed. */
  async wait(atMostMs: number): Promise<void> {
    if (this.#delivered.length > 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, atMostMs);
      this.#changed = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#changed = undefined;
  }
}

export class ParkedLeases {
  /** In the order in which they are claimed next. */
  readonly #open = new Set<ParkedLease>();
  readonly #unsubscribe: () => void;
  #round = 0;
  #isClosed = false;

  constructor(bus: Bus) {
    const look = () => this.#wake((lease) => (lease.isToLook = true));
    this.#unsubscribe = bus.subscribe("queue", look, look);
  }

  /** Grows when something may have changed. */
  get round(): number {
    return this.#round;
  }

  /** May bring `count`. To be called in the same turn in which the change was handed to the store. */
  coming(count: number): void {
    this.#wake((lease) => (lease.coming += count));
  }

  /** For as much as `count`, of a scheduler that has waited longest, if any waits. */
  claim(count: number): Claim | undefined {
    for (const lease of this.#open) {
      const claim = lease.claim(count);
      if (claim === undefined) continue;
      this.#open.delete(lease);
      this.#open.add(lease);
      return {
        command: claim.command,
        settle: (executions) => {
          // What the start stored all the same is not announced where its answer was lost.
          if (executions.length === 0) {
            this.#round += 1;
            lease.isToLook = true;
          }
          claim.settle(executions);
        },
      };
    }
    return undefined;
  }

  /** Opens a request; whatever the same scheduler asked for before ends (K3). `close` is to be called at its end. */
  open(command: LeaseCommand, { receivedCount, isOnce = false }: LeaseOptions = {}): ParkedLease {
    let onItsWay = 0;
    for (const other of this.#open) {
      if (other.command.schedulerId !== command.schedulerId) continue;
      if (receivedCount !== undefined && !other.isEnding) onItsWay += other.onItsWay(receivedCount);
      end(other);
    }
    const lease = new ParkedLease(command, Math.max(0, command.maxCount - onItsWay), isOnce);
    if (this.#isClosed) lease.isEnding = true;
    this.#open.add(lease);
    return lease;
  }

  close(lease: ParkedLease): void {
    lease.isEnding = true;
    this.#open.delete(lease);
  }

  /** Nobody waits any more, nor does whoever comes later. */
  closeAll(): void {
    this.#isClosed = true;
    this.#unsubscribe();
    for (const lease of this.#open) end(lease);
  }

  #wake(mark: (lease: ParkedLease) => void): void {
    this.#round += 1;
    for (const lease of Array.from(this.#open)) {
      mark(lease);
      lease.wake();
    }
  }
}

function end(lease: ParkedLease): void {
  lease.isEnding = true;
  lease.wake();
}
