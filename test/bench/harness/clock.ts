/** Milliseconds of the machine's monotonic clock, which all of its processes share; only differences mean something. */
export function machineClockMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}

/** A pause in which the machine comes to rest between samples. */
export function pause(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}

/** Rejects when `work` takes longer than `boundMs`. */
export async function within<T>(boundMs: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took longer than ${boundMs} ms`)), boundMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
