/** The open stream of one worker: commands go out in order, those of one turn in one message. */
import type { ConnectResponse, WorkerCommand } from "../../gen/multinode/scheduler/v1/worker_service.pb.js";

export class WorkerSession {
  #commands: WorkerCommand[] = [];
  #wake: (() => void) | undefined;
  #closed = false;

  send(command: NonNullable<WorkerCommand["command"]>): void {
    if (this.#closed) return;
    this.#commands.push({ command });
    this.#wake?.();
  }

  close(): void {
    this.#closed = true;
    this.#wake?.();
  }

  async *messages(signal: AbortSignal): AsyncGenerator<ConnectResponse, void> {
    const abort = () => this.close();
    signal.addEventListener("abort", abort);
    if (signal.aborted) abort();
    try {
      while (!this.#closed) {
        if (this.#commands.length === 0) {
          await new Promise<void>((resolve) => {
            this.#wake = resolve;
          });
          this.#wake = undefined;
          continue;
        }
        const commands = this.#commands;
        this.#commands = [];
        yield { commands };
      }
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }
}
