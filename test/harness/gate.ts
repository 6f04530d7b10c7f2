/** Files by which a test and the functions that it deployed wait for each other. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A module that a project may have as `gate.ts`: how functions wait for a gate, and leave notes for the test. */
export const GATE_SOURCE = `
  import { appendFileSync, existsSync } from "node:fs";
  import { setTimeout } from "node:timers/promises";
  export async function passGate(path: string, signal?: AbortSignal): Promise<void> {
    while (!existsSync(path)) await setTimeout(10, undefined, signal === undefined ? {} : { signal });
  }
  export function note(path: string, text: string): void {
    appendFileSync(path, text + "\\n");
  }
`;

export class GateFolder {
  readonly #folder = mkdtempSync(join(tmpdir(), "multinode-gates-"));
  #count = 0;

  /** The path of a gate or of notes, which does not exist yet. */
  path(): string {
    this.#count += 1;
    return join(this.#folder, String(this.#count));
  }

  open(path: string): void {
    writeFileSync(path, "");
  }

  /** The lines that functions left at a path. */
  notes(path: string): string[] {
    return existsSync(path) ? readFileSync(path, "utf8").split("\n").slice(0, -1) : [];
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
