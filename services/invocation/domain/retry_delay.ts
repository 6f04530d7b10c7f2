/** How long to wait before the attempt that follows a failed one. */

export interface RetryDelay {
  readonly initialMs: number;
  readonly factor: number;
  readonly ceilingMs: number;
  /** Share of the wait, 0 to 1, by which chance may make it shorter. */
  readonly jitter: number;
}

/** `failures` counts from 1; `random` is 0 up to 1. Answers whole milliseconds. */
export function retryDelayMs(delay: RetryDelay | undefined, failures: number, random: number): number {
  if (delay === undefined) return 0;
  const full = Math.min(delay.initialMs * delay.factor ** (failures - 1), delay.ceilingMs);
  return Math.round(full * (1 - delay.jitter * random));
}
