/** Time as a parameter, so that decisions can be tested at any moment. */
export interface Clock {
  /** UTC milliseconds. It may be set, and it goes on while the machine is suspended. */
  now(): number;
}

/** One that knows when the other was set. */
export interface SteadyClock extends Clock {
  /** Milliseconds since any moment. It does not jump, and stands still while the machine is suspended. */
  monotonic(): number;
}

export const systemClock: SteadyClock = { now: () => Date.now(), monotonic: () => performance.now() };
