const SAMPLE_INTERVAL_MS = 250;
const MIB = 1024 * 1024;

/** Parts of the limit: garbage is collected above the first, and not again before less than the second is used. */
const COLLECT_ABOVE = 0.75;
const ARM_BELOW = 0.5;

export interface MemoryWatch {
  /** Hard limit of the function, in bytes. */
  readonly limitBytes: number;
  /** Resident memory of the process, in bytes. */
  readonly residentBytes: () => number;
  /** Collects garbage, or gives up. Never rejects. */
  readonly collect: () => Promise<void>;
  /** Is told the error that ends what runs; called at most once. */
  readonly onExceeded: (error: string) => void;
}

/**
 * Watches the resident memory of the process, all threads together. The limit counts what the function adds: the memory
 * that the worker held when it was bound is its own, and the same for every function.
 *
 * V8 lets garbage lie where the machine has room for it, and knows nothing of the limit. So it is made to collect before
 * memory runs short, as a container ends a process without asking, and before anything is ended for what it may not hold.
 */
export function watchMemory({ limitBytes, residentBytes, collect, onExceeded }: MemoryWatch): void {
  const baselineBytes = residentBytes();
  const used = () => residentBytes() - baselineBytes;
  let isArmed = true;
  let isCollecting = false;

  const look = async (): Promise<void> => {
    const usedBytes = used();
    if (usedBytes < ARM_BELOW * limitBytes) isArmed = true;
    const isOver = usedBytes > limitBytes;
    if (isCollecting || !(isOver || (isArmed && usedBytes > COLLECT_ABOVE * limitBytes))) return;
    isArmed = false;
    isCollecting = true;
    await collect();
    isCollecting = false;
    if (!isOver || used() <= limitBytes) return;
    clearInterval(timer);
    onExceeded(`OutOfMemoryError: used ${Math.ceil(used() / MIB)} MiB of ${formatMib(limitBytes)} MiB`);
  };
  const timer = setInterval(() => void look(), SAMPLE_INTERVAL_MS);
}

function formatMib(bytes: number): string {
  return String(Math.round((bytes / MIB) * 10) / 10);
}
