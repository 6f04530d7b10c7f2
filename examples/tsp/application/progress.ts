/** Shows how a search goes: one line that is redrawn on a terminal, a line for each round elsewhere. */
import type { Progress } from "../tasks/main.ts";

export interface Output {
  readonly isTTY?: boolean | undefined;
  write(text: string): unknown;
}

const CLEAR_LINE = "\r\u001b[2K";

export class ProgressLine {
  readonly #output: Output;
  #shown = "";

  constructor(output: Output) {
    this.#output = output;
  }

  show(text: string): void {
    if (text === this.#shown) return;
    this.#shown = text;
    this.#output.write(this.#output.isTTY === true ? `${CLEAR_LINE}${text}` : `${text}\n`);
  }

  /** Leaves the last line of a terminal standing. */
  end(): void {
    if (this.#output.isTTY === true && this.#shown !== "") this.#output.write("\n");
  }
}

export function describeProgress({ round, rounds, bestLength, optimum }: Progress): string {
  return `round ${round} of ${rounds}: ${bestLength}, ${gapPercent(bestLength, optimum).toFixed(2)} % above the optimum`;
}

/** How much longer than the optimum, in %. */
export function gapPercent(length: number, optimum: number): number {
  return (length / optimum - 1) * 100;
}
