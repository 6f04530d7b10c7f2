/**
 * Schedulers that wait for something to lease. A start takes one of them along: what it stores is then leased in the same
 * row and with the same commit, so that a call waits for the disk once for its start and its lease together. The others are
 * woken when a change that may bring them something is on its way to the store, so that their lease joins its commit.
 *
 * K1. What happens while a lease is open is not missed, whatever its scheduler is being given meanwhile.
 * K2. Every claim is settled, and a lease does not end before its claims.
 * K3. Of one scheduler only the newest request is open, by the order in which they came: it asks for what there is room for
 *     now. What is still on its way by those before counts against it, also where they have ended.
 * K4. No more is claimed for a request than it asked for, however many claims are under way, and none is begun while its scheduler
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
  /** What has reached the scheduler of this request by those before it. Undefined: nothing is on its way. */
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

/** What one scheduler was given, and is about to be, by requests that replaced each other. */
interface Given {
  count: number;
  newest: ParkedLease | undefined;
}

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
  readonly #given: Given;
  /** So many its scheduler may have been given. */
  readonly #atMost: number;
  /** Claims under way. */
  #claims = 0;
  /** Executions that were delivered. */
  #count = 0;
  #changed: (() => void) | undefined;

  constructor(command: LeaseCommand, received: number, isOnce: boolean, given: Given) {
    this.command = command;
    this.#given = given;
    this.#atMost = received + command.maxCount;
    this.#isOnce = isOnce;
  }

  get #left(): number {
    return this.#isOnce && this.#count > 0 ? 0 : Math.max(0, this.#atMost - this.#given.count);
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

  /** Takes as much as `count`, if that is left. */
  claim(count: number): Claim | undefined {
    const claimed = this.#isOnce ? this.left : Math.min(this.left, count);
    if (claimed === 0) return undefined;
    this.#claims += 1;
    this.#given.count += claimed;
    let isSettled = false;
    return {
      command: { ...this.command, maxCount: claimed },
      settle: (executions) => {
        if (isSettled) return;
        isSettled = true;
        this.#claims -= 1;
        this.#given.count -= claimed - executions.length;
        this.#count += executions.length;
        if (executions.length > 0) this.#delivered.push([...executions]);
        this.wake();
        const { newest } = this.#given;
        if (newest === this || executions.length === claimed) return;
        // What it gives back is for that one, which may have looked in vain.
        if (newest !== undefined) newest.isToLook = true;
        newest?.wake();
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
  /** By scheduler. */
  readonly #given = new Map<string, Given>();
  readonly #unsubscribe: () => void;
  #round = 0;
  #turn = 0;
  #isClosed = false;

  constructor(bus: Bus) {
    const look = () => this.#wake((lease) => (lease.isToLook = true));
    this.#unsubscribe = bus.subscribe("queue", look, look);
  }

  /** Grows when something may have changed. */
  get round(): number {
    return this.#round;
  }

  /** Which queue comes first changes from lease to lease, so that none is always served last. */
  nextTurn(): number {
    return this.#turn++;
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
          // What is left may be leasable all the same, or will be soon. Nor is it announced what a start stored whose answer was lost.
          if (executions.length < claim.command.maxCount) {
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
    for (const other of this.#open) if (other.command.schedulerId === command.schedulerId) end(other);
    const before = receivedCount === undefined ? undefined : this.#given.get(command.schedulerId);
    const received = receivedCount ?? 0;
    // One that does not know what came before, as after a restart, counts from here.
    const given = before !== undefined && before.count >= received ? before : { count: received, newest: undefined };
    this.#given.set(command.schedulerId, given);
    const lease = new ParkedLease(command, received, isOnce, given);
    given.newest = lease;
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
