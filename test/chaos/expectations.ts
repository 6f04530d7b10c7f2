/** What each function of `tasks/main.ts` may do, whatever happens to the server. */

export interface Expectation {
  readonly maxRetries: number;
  readonly maxConcurrency: number;
  /** How its invocations may end when no worker is lost; `nested` and the like may also run out of retries. */
  readonly ends: readonly string[];
  /** JSON of the result of a success. */
  result(n: number): string | undefined;
  /** The error that user code throws in this attempt; undefined: it throws none. */
  throws(attemptNumber: number): string | undefined;
  /** Whether no attempt may be lost, whatever is killed. */
  readonly survives?: true;
  /** Whether each execution has a worker of its own. */
  readonly fresh: boolean;
}

/** How the error of an execution begins whose worker went away with the server. */
export const LOST = "WorkerLostError: ";

const MANY = 50;
const tenfold = (n: number): string => String(n * 10);
const never = (): undefined => undefined;

const succeeds: Expectation = {
  maxRetries: MANY,
  maxConcurrency: 4,
  ends: ["SUCCEEDED"],
  result: tenfold,
  throws: never,
  fresh: true,
};

export const EXPECTATIONS: Readonly<Record<string, Expectation>> = {
  steady: succeeds,
  fragile: { ...succeeds, maxRetries: 0 },
  hopeless: { ...succeeds, maxRetries: 2, ends: [], throws: () => "TypeError: hopeless" },
  flaky: {
    ...succeeds,
    maxRetries: 3,
    throws: (attempt) => (attempt <= 2 ? `RangeError: attempt ${attempt} is too early` : undefined),
  },
  nested: { ...succeeds, maxConcurrency: 3, result: (n) => String((n + 1) * 10 + (n + 2) * 10) },
  counting: { ...succeeds, result: (n) => String(n * 10 + 5) },
  shared: { ...succeeds, maxConcurrency: 12, fresh: false },
  littering: { ...succeeds, maxConcurrency: 2 },
  endless: { ...succeeds, ends: ["CANCELLED"] },
  overdue: { ...succeeds, ends: ["TIMED_OUT"] },
  limited: { ...succeeds, maxRetries: 3, maxConcurrency: 5 },
  lasting: { ...succeeds, maxRetries: 0, maxConcurrency: 100, survives: true },
};
