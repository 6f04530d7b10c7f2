import type { MessagePort } from "node:worker_threads";
import type { ToSupervisor } from "./messages.js";

/** Taken here, because user code may replace the global with a fake one. */
const afterThis = queueMicrotask;

/**
 * The main thread's way to the supervisor: what happens at the same moment travels together. It does not wait for the next
 * turn of the event loop, which user code that was left running may never allow.
 */
export class Outbox {
  readonly #port: MessagePort;
  #waiting: ToSupervisor[] = [];
  #isScheduled = false;

  constructor(port: MessagePort) {
    this.#port = port;
  }

  push(message: ToSupervisor): void {
    this.#waiting.push(message);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    afterThis(() => {
      this.#isScheduled = false;
      this.flush();
    });
  }

  /** For what must get out even if user code never gives the event loop back. */
  pushNow(message: ToSupervisor): void {
    this.#waiting.push(message);
    this.flush();
  }

  flush(): void {
    if (this.#waiting.length === 0) return;
    const messages = this.#waiting;
    this.#waiting = [];
    this.#port.postMessage(messages);
  }
}
