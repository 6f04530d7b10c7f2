import type { MessagePort } from "node:worker_threads";
import type { ToSupervisor } from "./messages.js";

/** Taken here, because user code may replace the global with a fake one. */
const laterInThisTurn = setImmediate;

/** The main thread's way to the supervisor: what is pushed within one turn of the event loop travels together. */
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
    laterInThisTurn(() => {
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
