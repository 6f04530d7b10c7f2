/** What a chaos test starts: decided by the seed, apart from when it happens. */
import type { Random } from "./random.js";

export interface PlannedStart {
  readonly functionName: string;
  readonly n: number;
  readonly workMs: number;
  /** Wait before it, after the start before it. */
  readonly afterMs: number;
  readonly idempotencyKey: string | undefined;
  /** Whether the same start is sent twice, which its key makes one. */
  readonly isRepeated: boolean;
  /** When to cancel it, after its start; undefined: never. */
  readonly cancelAfterMs: number | undefined;
}

/** How often each function comes, in a hundred or so. */
const SHARES: Readonly<Record<string, number>> = {
  steady: 22,
  fragile: 10,
  hopeless: 8,
  flaky: 12,
  nested: 8,
  counting: 10,
  shared: 20,
  littering: 3,
  endless: 4,
  overdue: 3,
};

export const FUNCTION_NAMES = Object.keys(SHARES);

export function planStarts(random: Random, count: number): PlannedStart[] {
  const names = Object.entries(SHARES).flatMap(([name, share]) => Array.from({ length: share }, () => name));
  return Array.from({ length: count }, (_, index) => {
    // Every function at least once, however short the test.
    const functionName = FUNCTION_NAMES[index] ?? random.pick(names);
    const hasKey = random.chance(0.5);
    return {
      functionName,
      n: index,
      workMs: random.chance(0.2) ? random.between(500, 1_500) : random.between(5, 250),
      afterMs: random.chance(0.5) ? 0 : random.between(1, 120),
      idempotencyKey: hasKey ? `start-${index}` : undefined,
      isRepeated: hasKey && random.chance(0.3),
      cancelAfterMs: functionName === "endless" ? random.between(0, 2_000) : undefined,
    };
  });
}
