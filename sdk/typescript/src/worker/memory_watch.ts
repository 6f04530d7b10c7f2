const SAMPLE_INTERVAL_MS = 250;
const MIB = 1024 * 1024;

/**
 * Watches the resident memory of the process, all threads together. The limit counts what the function adds: the memory
 * that the worker held when it was bound is its own, and the same for every function.
 *
 * @param limitBytes hard limit of the function
 * @param onExceeded is told the error that ends what runs; called at most once
 */
export function watchMemory(limitBytes: number, onExceeded: (error: string) => void): void {
  const baselineBytes = process.memoryUsage.rss();
  const timer = setInterval(() => {
    const usedBytes = process.memoryUsage.rss() - baselineBytes;
    if (usedBytes <= limitBytes) return;
    clearInterval(timer);
    onExceeded(`OutOfMemoryError: used ${Math.ceil(usedBytes / MIB)} MiB of ${formatMib(limitBytes)} MiB`);
  }, SAMPLE_INTERVAL_MS);
}

function formatMib(bytes: number): string {
  return String(Math.round((bytes / MIB) * 10) / 10);
}
