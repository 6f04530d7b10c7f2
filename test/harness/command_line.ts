/** The command line as users run it, from the built package. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { CLI_PROGRAM } from "./cli_program.js";

const BOUND_MS = 90_000;

export interface CommandOutcome {
  readonly exitStatus: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs one command to its end; `interrupt` is Ctrl-C. */
export async function runCommandLine(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
  interrupt?: AbortSignal,
): Promise<CommandOutcome> {
  const child = spawn(process.execPath, [CLI_PROGRAM, ...argv], {
    env: { PATH: process.env["PATH"], ...env },
    stdio: ["ignore", "pipe", "pipe"],
    timeout: BOUND_MS,
    killSignal: "SIGKILL",
  });
  interrupt?.addEventListener("abort", () => child.kill("SIGINT"), { once: true });
  const outputs = Promise.all([text(child.stdout), text(child.stderr)]);
  const [exitStatus] = (await once(child, "close")) as [number | null];
  const [stdout, stderr] = await outputs;
  return { exitStatus, stdout, stderr };
}
