/**
 * Asking for executions. A request waits at each replica of the invocation service, so that a start finds a scheduler that
 * waits, whichever of them it comes to, and is leased with the commit that stores it.
 *
 * L1. The requests that wait ask together for no more than there is room for.
 * L2. A request is replaced by one that asks for more when there is room for about twice as much.
 */
import type { DispatchServiceClient } from "../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { LIMITS } from "../../sdk/typescript/src/protocol/limits.js";

/** One replica of the invocation service, or a proxy before all of them. */
export type Lessor = Pick<DispatchServiceClient, "leaseInvocations" | "reportExecutions" | "appendLogs">;

/** One request. */
export interface Asking {
  readonly lessor: Lessor;
  readonly count: number;
  /** Whether another request has replaced it. */
  readonly isReplaced: () => boolean;
}

interface Place {
  readonly lessor: Lessor;
  /** What its newest request asks for; 0: there is none. */
  asked: number;
  newest: Promise<void> | undefined;
}

export class Lessors {
  readonly #places: readonly Place[];
  readonly #lease: (asking: Asking, excludedQueues: readonly string[]) => Promise<void>;
  /** Called when a request has ended. */
  readonly #ended: () => void;
  /** Requests on their way; those that are not the newest of their place are about to end. */
  readonly #underWay = new Set<Promise<void>>();
  /** Which place is asked first, where there is not room for all. */
  #turn = 0;

  /** @param lease does one request; never rejects */
  constructor(
    lessors: readonly Lessor[],
    lease: (asking: Asking, excludedQueues: readonly string[]) => Promise<void>,
    ended: () => void,
  ) {
    this.#places = lessors.map((lessor) => ({ lessor, asked: 0, newest: undefined }));
    this.#lease = lease;
    this.#ended = ended;
  }

  /** There is room for `room` executions, of other queues than these. */
  offer(room: number, excludedQueues: readonly string[]): void {
    const places = this.#places;
    const share = Math.ceil(room / places.length);
    this.#turn += 1;
    for (let index = 0; index < places.length; index++) {
      const place = places[(this.#turn + index) % places.length];
      if (place === undefined) continue;
      const others = places.reduce((sum, other) => (other === place ? sum : sum + other.asked), 0);
      const count = Math.min(share, room - others, LIMITS.executionsPerLease); // L1
      if (count < Math.max(1, 2 * place.asked)) continue; // L2
      this.#ask(place, count, excludedQueues);
    }
  }

  /** Resolves when no request is under way. */
  async ended(): Promise<void> {
    await Promise.all(this.#underWay);
  }

  #ask(place: Place, count: number, excludedQueues: readonly string[]): void {
    place.asked = count;
    const isReplaced = () => place.newest !== asking;
    const asking = this.#lease({ lessor: place.lessor, count, isReplaced }, excludedQueues).finally(() => {
      this.#underWay.delete(asking);
      if (!isReplaced()) place.asked = 0;
      this.#ended();
    });
    place.newest = asking;
    this.#underWay.add(asking);
  }
}
