/** Waits for news of one invocation's log. */
import { Bell } from "../platform/bell.js";
import type { Bus } from "../platform/bus/bus.js";

export class LogFollower {
  /** Whose lines are news. */
  executionIds: readonly string[] = [];
  readonly #unsubscribes: (() => void)[];
  #news = false;
  readonly #bell = new Bell();

  constructor(bus: Bus, invocationId: string) {
    this.#unsubscribes = [
      bus.subscribe(
        "log",
        (event) => {
          if (event.$case === "logs" && event.value.executionIds.some((id) => this.executionIds.includes(id)))
            this.#tell();
        },
        () => this.#tell(),
      ),
      bus.subscribe("invocation", (event) => {
        if (event.$case !== "invocations") return;
        if (event.value.invocations.some((changed) => changed.invocationId === invocationId)) this.#tell();
      }),
    ];
  }

  /** Called before the store is read, so that what comes after is news. */
  arm(): void {
    this.#news = false;
  }

  async wait(atMostMs: number, signal: AbortSignal): Promise<void> {
    if (!this.#news) await this.#bell.wait(atMostMs, signal);
  }

  close(): void {
    for (const unsubscribe of this.#unsubscribes) unsubscribe();
  }

  #tell(): void {
    this.#news = true;
    this.#bell.ring();
  }
}
