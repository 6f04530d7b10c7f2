/**
 * Wakes one who waits. A ring is not kept: where nobody waits it is lost, so whoever rings first notes what for, and whoever
 * waits first looks whether anything is noted.
 */
export class Bell {
  #end: (() => void) | undefined;

  ring(): void {
    this.#end?.();
  }

  /** Until the next ring, for so long, or until `signal` aborts. It does not keep the process. */
  async wait(atMostMs: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    await new Promise<void>((resolve) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        this.#end = undefined;
        resolve();
      };
      const timer = setTimeout(end, atMostMs).unref();
      signal.addEventListener("abort", end);
      this.#end = end;
    });
  }
}
