/** Sizes and durations as people write them. */

/** "256 MiB", "16 GiB", "512 KiB", or a number of bytes. */
export type Size = number | string;

/** "500ms", "2s", "30m", "1h", "1h30m", "2d", or a number of milliseconds. */
export type Duration = number | string;

const BYTES_PER_UNIT: Readonly<Record<string, number>> = { B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 };
const MS_PER_UNIT: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

export const SIZE_RULE = 'a size such as "256 MiB" or "16 GiB", or a number of bytes';
export const DURATION_RULE = 'a duration such as "500ms", "2s", "30m" or "1h30m", or a number of milliseconds';

/** Whole bytes, or undefined where it is no size. */
export function parseSizeBytes(size: unknown): number | undefined {
  if (typeof size === "number") return Number.isFinite(size) && size >= 0 ? Math.round(size) : undefined;
  if (typeof size !== "string") return undefined;
  const [, amount, unit] = /^\s*(\d+(?:\.\d+)?)\s*(B|KiB|MiB|GiB)\s*$/.exec(size) ?? [];
  if (amount === undefined || unit === undefined) return undefined;
  return Math.round(Number(amount) * (BYTES_PER_UNIT[unit] ?? Number.NaN));
}

/** Whole milliseconds, or undefined where it is no duration. A wait above zero is never rounded down to none. */
export function parseDurationMs(duration: unknown): number | undefined {
  if (typeof duration === "number") {
    return Number.isFinite(duration) && duration >= 0 ? Math.ceil(duration) : undefined;
  }
  if (typeof duration !== "string") return undefined;
  const text = duration.trim();
  if (!/^(\d+(\.\d+)?\s*(ms|s|m|h|d)\s*)+$/.test(text)) return undefined;
  let totalMs = 0;
  for (const [, amount, unit] of text.matchAll(/(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)/g)) {
    totalMs += Number(amount) * (MS_PER_UNIT[unit ?? ""] ?? Number.NaN);
  }
  // Sums of decimal fractions are off by less than a millionth of a millisecond.
  return Math.max(0, Math.ceil(totalMs - 1e-6));
}
