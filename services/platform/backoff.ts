/** How long to wait before another try: twice as long after each failure, up to a bound, and at random up to half of that less. */
export function backoffMs(attempt: number, firstMs: number, longestMs: number): number {
  return Math.min(firstMs * 2 ** attempt, longestMs) * (0.5 + Math.random() / 2);
}
