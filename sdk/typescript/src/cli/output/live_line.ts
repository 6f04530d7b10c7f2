import type { Output } from "../io.js";
import { shorten } from "./format.js";

/** One line of a terminal that is drawn again and again in the same place. Coloured texts must be no wider than the terminal. */
export class LiveLine {
  readonly #output: Output;
  #shown = false;

  constructor(output: Output) {
    this.#output = output;
  }

  /** Replaces the line. `tail` is cut to what fits behind `head`; `headWidth` is the width of `head` without colours. */
  draw(head: string, headWidth: number, tail: string): void {
    const room = this.#output.columns - headWidth - 1;
    this.#output.write(`\r\u001b[2K${head}${room > 0 ? shorten(tail, room) : ""}`);
    this.#shown = true;
  }

  /** Removes the line, so that what is written next stands in its place. May be repeated. */
  clear(): void {
    if (!this.#shown) return;
    this.#output.write("\r\u001b[2K");
    this.#shown = false;
  }
}
