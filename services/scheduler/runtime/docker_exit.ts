/** How a worker's container ended, in words: pure. */
import { constants } from "node:os";
import { ranOutOfMemory } from "../../../sdk/typescript/src/worker/worker_flags.js";
import type { WorkerExit } from "./runtime.js";

export interface ContainerEnd {
  /** Undefined where the engine knows the container no more. */
  readonly exitCode: number | undefined;
  /** Where there is no code: what ended it, if that is known. */
  readonly cause?: string | undefined;
  /** What the engine says of the container, or said in an event. It may be wrong both ways. */
  readonly oomKilled: boolean;
  /** Whether it was this scheduler that killed it. */
  readonly wasStopped: boolean;
  /** The last of what it printed. */
  readonly lastLines: readonly string[];
}

const SIGNAL_BASE = 128;
const KILLED_CODE = SIGNAL_BASE + constants.signals.SIGKILL;

export function describeExit(end: ContainerEnd): Omit<WorkerExit, "workerId"> {
  return { description: describe(end), outOfMemory: wasOutOfMemory(end) };
}

function describe({ exitCode, cause, wasStopped }: ContainerEnd): string {
  if (exitCode === undefined) return cause ?? (wasStopped ? "was killed by SIGKILL" : "was removed by somebody else");
  const signal = Object.entries(constants.signals).find(([, number]) => number === exitCode - SIGNAL_BASE);
  return signal === undefined ? `exited with code ${exitCode}` : `was killed by ${signal[0]}`;
}

/**
 * The engine's mark is also set when only a child was killed, and then it proves nothing: it must fit the exit code. A
 * JavaScript heap that is full ends the process by itself, and says so.
 */
function wasOutOfMemory({ exitCode, oomKilled, wasStopped, lastLines }: ContainerEnd): boolean {
  if (ranOutOfMemory(lastLines)) return true;
  return oomKilled && exitCode === KILLED_CODE && !wasStopped;
}
