/** Figures of repeated measurements. */

/** The figures of one round of one contender, by name. */
export type Figures = Readonly<Record<string, number>>;

export const ROUNDS = 3;

/** Value below which the share `q` (0 to 1) of the samples lies, by the nearest rank. */
export function quantile(samples: readonly number[], q: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const rank = Math.min(sorted.length - 1, Math.max(0, Math.ceil(q * sorted.length) - 1));
  const value = sorted[rank];
  if (value === undefined) throw new Error("no samples were taken");
  return value;
}

export function median(samples: readonly number[]): number {
  return quantile(samples, 0.5);
}

/** p50 and p99 of latencies. */
export function latency(samplesMs: readonly number[]): { p50: number; p99: number } {
  return { p50: quantile(samplesMs, 0.5), p99: quantile(samplesMs, 0.99) };
}

/**
 * Runs every contender once in each round, each round beginning with another one, so that what else happens on the machine
 * meets all of them alike. Answers the median of each figure.
 */
export async function alternate<Contenders extends Readonly<Record<string, () => Promise<Figures>>>>(
  contenders: Contenders,
  rounds = ROUNDS,
): Promise<{ [Name in keyof Contenders]: Awaited<ReturnType<Contenders[Name]>> }> {
  const names = Object.keys(contenders);
  const taken = new Map<string, Figures[]>(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round++) {
    for (let place = 0; place < names.length; place++) {
      const name = names[(place + round) % names.length] ?? "";
      const figures = await contenders[name]?.();
      if (figures !== undefined) taken.get(name)?.push(figures);
    }
  }
  const medians = names.map((name) => [name, mediansOf(taken.get(name) ?? [])]);
  return Object.fromEntries(medians) as { [Name in keyof Contenders]: Awaited<ReturnType<Contenders[Name]>> };
}

function mediansOf(rounds: readonly Figures[]): Figures {
  const names = Object.keys(rounds[0] ?? {});
  return Object.fromEntries(names.map((name) => [name, median(rounds.map((round) => round[name] ?? Number.NaN))]));
}
