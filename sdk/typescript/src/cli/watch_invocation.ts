import type { InvocationClient, WatchUntil } from "../client/invocation_client.js";
import { type Invocation, isFinishedStatus } from "../invocation.js";
import { QuietFailure } from "./command_error.js";
import type { Io } from "./io.js";
import { formatClockMs, formatDuration, harmless } from "./output/format.js";
import { invocationJson, outcomeLine, paintStatus } from "./output/invocation.js";
import { LiveLine } from "./output/live_line.js";
import { type Paint, paintFor } from "./output/paint.js";
import { prettyValue } from "./output/value.js";
import { writeJsonLine, writeLines } from "./output/write.js";

/** How often the line on a terminal is drawn anew, for the elapsed time. */
const REDRAW_MS = 200;

export interface WatchInvocationOptions {
  readonly json: boolean;
  readonly until: WatchUntil;
}

/**
 * Shows an invocation until its end: one line that changes on a terminal, a line for each change elsewhere. Throws a
 * QuietFailure if it does not succeed.
 */
export async function watchInvocation(
  io: Io,
  client: Pick<InvocationClient, "watch">,
  invocationId: string,
  { json, until }: WatchInvocationOptions,
): Promise<void> {
  const view = json ? new JsonView(io) : io.stdout.isTerminal ? new TerminalView(io) : new PlainView(io);
  let last: Invocation | undefined;
  try {
    for await (const invocation of client.watch(invocationId, until, io.signal)) {
      last = invocation;
      view.changed(invocation);
    }
  } catch (error) {
    view.stop();
    if (io.signal.aborted) {
      io.stderr.write(`It goes on. To end it: multinode cancel --invocation-id ${invocationId}\n`);
    }
    throw error;
  }
  view.stop();
  if (last !== undefined) view.ended(last);
  if (last?.status !== "SUCCEEDED") throw new QuietFailure();
}

interface View {
  changed(invocation: Invocation): void;
  /** Nothing changes any more: take back what was drawn for the moment. */
  stop(): void;
  ended(invocation: Invocation): void;
}

class JsonView implements View {
  readonly #io: Io;

  constructor(io: Io) {
    this.#io = io;
  }

  changed(invocation: Invocation): void {
    writeJsonLine(this.#io, invocationJson(invocation));
  }

  stop(): void {}

  ended(): void {}
}

class PlainView implements View {
  readonly #io: Io;
  readonly #paint: Paint;
  #newest = "";

  constructor(io: Io) {
    this.#io = io;
    this.#paint = paintFor(io.stdout, io.env);
  }

  changed(invocation: Invocation): void {
    const parts = [paintStatus(this.#paint, invocation.status), outcomeLine(invocation)];
    const line = parts.filter((part) => part !== "").join("  ");
    // Such as between two attempts, where what changes is not shown.
    if (line === this.#newest) return;
    this.#newest = line;
    writeLines(this.#io, [`${formatClockMs(new Date())}  ${line}`]);
  }

  stop(): void {}

  ended(): void {}
}

class TerminalView implements View {
  readonly #io: Io;
  readonly #paint: Paint;
  readonly #line: LiveLine;
  readonly #timer: NodeJS.Timeout;
  #newest: Invocation | undefined;

  constructor(io: Io) {
    this.#io = io;
    this.#paint = paintFor(io.stdout, io.env);
    this.#line = new LiveLine(io.stdout);
    this.#timer = setInterval(() => this.#draw(), REDRAW_MS);
  }

  changed(invocation: Invocation): void {
    this.#newest = invocation;
    this.#draw();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#line.clear();
  }

  ended(invocation: Invocation): void {
    const took = formatDuration((invocation.finishedAt ?? new Date()).getTime() - invocation.createdAt.getTime());
    const lines = [`${paintStatus(this.#paint, invocation.status)} after ${took}`];
    if (invocation.error !== undefined && invocation.status !== "SUCCEEDED") lines.push(harmless(invocation.error));
    if (invocation.result !== undefined) {
      const color = this.#paint.isColorSupported;
      lines.push(prettyValue(invocation.result, { color, columns: this.#io.stdout.columns }));
    }
    writeLines(this.#io, lines);
  }

  #draw(): void {
    const invocation = this.#newest;
    if (invocation === undefined) return;
    const elapsedMs = (invocation.finishedAt?.getTime() ?? Date.now()) - invocation.createdAt.getTime();
    const attempts = invocation.numFailedAttempts > 0 ? `, attempt ${invocation.numFailedAttempts + 1}` : "";
    const seconds = `${Math.max(0, elapsedMs / 1_000).toFixed(1)}s`;
    const after = ` ${elapsedMs < 60_000 ? seconds : formatDuration(elapsedMs)}${attempts}  `;
    const ending = isFinishedStatus(invocation.status) ? "its worker is ending  " : "";
    const width = invocation.status.length + after.length;
    this.#line.draw(paintStatus(this.#paint, invocation.status) + after, width, ending + outcomeLine(invocation));
  }
}
