/** A measurement, and what comes out of it. */
import type { Processes } from "./harness/processes.js";

export interface Bench {
  readonly processes: Processes;
  /** Fewer samples, for a first look. */
  readonly quick: boolean;
  /** Folder for data, removed at the end. */
  readonly folder: string;
}

export interface Measurement {
  /** For --only. */
  readonly name: string;
  readonly title: string;
  measure(bench: Bench): Promise<Outcome>;
}

export interface Outcome {
  readonly rows: readonly Row[];
  /** What explains the rows, such as where CPU time went. */
  readonly notes: readonly string[];
}

export interface Row {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  readonly yardstick?: { readonly name: string; readonly value: number };
  /** Limits of the ratio to the yardstick; of the value itself where there is none. */
  readonly limits?: Limits;
}

export interface Limits {
  readonly better: "lower" | "higher";
  readonly bound: number;
  readonly aim: number;
}

export type Verdict = "aim" | "pass" | "FAIL" | "";

/** Value over yardstick. */
export function ratioOf({ value, yardstick }: Row): number | undefined {
  return yardstick === undefined ? undefined : value / yardstick.value;
}

export function verdictOf(row: Row): Verdict {
  if (row.limits === undefined) return "";
  const { better, bound, aim } = row.limits;
  const measured = ratioOf(row) ?? row.value;
  const reaches = (limit: number) => (better === "lower" ? measured <= limit : measured >= limit);
  if (reaches(aim)) return "aim";
  return reaches(bound) ? "pass" : "FAIL";
}
