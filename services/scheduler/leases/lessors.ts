/**
 * Asking for executions. A request is open at each replica of the invocation service, so that a start finds a scheduler that
 * waits, whichever of them it comes to, and is leased with the commit that stores it.
 *
 * L1. The requests that are open ask together for no more than there is room for.
 * L2. A request is replaced by one that asks for more when there is room for half as much again, and at once where it would bring
 *     what there is no room for.
 * L3. A replica that does not answer rests, longer each time, and leaves the room to the others. While all of them rest, what
 *     leads to any of them is asked, which never rests for long.
 */
import type { DispatchServiceClient } from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";

/** One replica of the invocation service, or a proxy before all of them. */
export type Lessor = Pick<
  DispatchServiceClient,
  "leaseInvocations" | "streamLeases" | "reportExecutions" | "appendLogs"
>;

/** One request. */
export interface Asking {
  readonly lessor: Lessor;
  readonly count: number;
  /** What had come for those that it replaces; undefined: it replaces none, or that is not known. */
  readonly receivedBefore: number | undefined;
  /** So many executions have come for it. */
  readonly received: (count: number) => void;
  /** Whether another request has replaced it, or all that it asked for has come. */
  readonly isDone: () => boolean;
}

interface Place {
  readonly lessor: Lessor;
  /** What may still come for its newest request, and for those before it. */
  asked: number;
  newest: Promise<void> | undefined;
  /** Requests under way. */
  open: number;
  /** What has come for them and for those that they replaced; undefined: after a failure that is not known. */
  received: number | undefined;
  /** Queues of which the newest request wants nothing. */
  excluded: ReadonlySet<string>;
  /** Requests in a row that failed. */
  failures: number;
  isResting: boolean;
}

const FIRST_REST_MS = 500;
const LONGEST_REST_MS = 10_000;

export class Lessors {
  readonly #places: readonly Place[];
  /** Asked while all the others rest. */
  readonly #anyPlace: Place | undefined;
  readonly #lease: (asking: Asking, excludedQueues: readonly string[]) => Promise<boolean>;
  /** Called when there may be something to ask for. */
  readonly #changed: () => void;
  /** Requests on their way; those that are not the newest of their place are about to end. */
  readonly #underWay = new Set<Promise<void>>();
  readonly #rests = new Set<NodeJS.Timeout>();
  /** Which place is asked first, where there is not room for all. */
  #turn = 0;

  /**
   * @param replicas each by itself; none: `any` is the only one
   * @param any leads to any of them
   * @param lease does one request, and answers whether it was answered as it should be; never rejects
   */
  constructor(
    replicas: readonly Lessor[],
    any: Lessor,
    lease: (asking: Asking, excludedQueues: readonly string[]) => Promise<boolean>,
    changed: () => void,
  ) {
    const placeOf = (lessor: Lessor): Place => ({
      lessor,
      asked: 0,
      newest: undefined,
      received: 0,
      open: 0,
      excluded: new Set(),
      failures: 0,
      isResting: false,
    });
    this.#places = replicas.length > 0 ? replicas.map(placeOf) : [placeOf(any)];
    this.#anyPlace = replicas.length > 0 ? placeOf(any) : undefined;
    this.#lease = lease;
    this.#changed = changed;
  }

  /** There is room for `room` executions, of other queues than these. */
  offer(room: number, excludedQueues: readonly string[]): void {
    const awake = this.#places.filter(({ isResting }) => !isResting);
    if (awake.length === 0 && this.#anyPlace?.isResting === false) awake.push(this.#anyPlace);
    const share = Math.ceil(room / awake.length);
    this.#turn += 1;
    for (let index = 0; index < awake.length; index++) {
      const place = awake[(this.#turn + index) % awake.length];
      if (place === undefined) continue;
      const count = Math.min(share, room - this.#askedElsewhere(place), LIMITS.executionsPerLease); // L1
      const { newest, excluded } = place;
      const isWrong = newest !== undefined && excludedQueues.some((queue) => !excluded.has(queue));
      if (!isWrong && count < Math.max(1, 1.5 * place.asked)) continue; // L2
      this.#ask(place, Math.max(count, 0), excludedQueues);
    }
  }

  /**
   * Resolves when no request is under way; what rests is not woken any more.
   *
   * @param endWait ends the request that waits at this lessor, and lets it be answered
   */
  async stop(endWait: (lessor: Lessor) => void): Promise<void> {
    const places = this.#anyPlace === undefined ? this.#places : [...this.#places, this.#anyPlace];
    for (const { lessor, newest } of places) if (newest !== undefined) endWait(lessor);
    await Promise.all(this.#underWay);
    for (const rest of this.#rests) clearTimeout(rest);
  }

  #askedElsewhere(place: Place): number {
    let sum = 0;
    for (const other of this.#places) if (other !== place) sum += other.asked;
    return this.#anyPlace === undefined || this.#anyPlace === place ? sum : sum + this.#anyPlace.asked;
  }

  #ask(place: Place, count: number, excludedQueues: readonly string[]): void {
    const receivedBefore = place.open === 0 ? undefined : place.received;
    place.received = receivedBefore ?? 0;
    place.open += 1;
    place.asked = count;
    place.excluded = new Set(excludedQueues);
    const isNewest = () => place.newest === asking;
    const received = (more: number) => {
      // What comes late counts for the newest, from which it is taken off.
      place.asked = Math.max(0, place.asked - more);
      if (place.received !== undefined) place.received += more;
    };
    const isDone = () => !isNewest() || place.asked === 0;
    const request = { lessor: place.lessor, count, receivedBefore, received, isDone };
    const asking = this.#lease(request, excludedQueues).then((isWell) => {
      this.#underWay.delete(asking);
      place.open -= 1;
      if (isWell) place.failures = 0;
      else place.received = undefined;
      if (!isNewest()) return;
      place.newest = undefined;
      place.asked = 0;
      if (!isWell) this.#rest(place);
      this.#changed();
    });
    place.newest = asking;
    this.#underWay.add(asking);
  }

  /** L3 */
  #rest(place: Place): void {
    const isLast = this.#anyPlace === undefined || place === this.#anyPlace;
    const restMs = isLast ? FIRST_REST_MS : Math.min(LONGEST_REST_MS, FIRST_REST_MS * 2 ** place.failures);
    place.failures += 1;
    place.isResting = true;
    const rest = setTimeout(() => {
      this.#rests.delete(rest);
      place.isResting = false;
      this.#changed();
    }, restMs);
    this.#rests.add(rest);
  }
}
