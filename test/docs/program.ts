/** Runs a program and takes what it writes. */
import { spawn } from "node:child_process";

export interface ProgramEnd {
  readonly exitStatus: number | null;
  readonly stdout: string;
  /** Both streams, as a person would see them. */
  readonly output: string;
}

/** Killed after `boundMs`; its exit status is null then. */
export async function runProgram(
  command: string,
  args: readonly string[],
  { cwd, env, boundMs }: { readonly cwd: string; readonly env: NodeJS.ProcessEnv; readonly boundMs: number },
): Promise<ProgramEnd> {
  const child = spawn(command, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  let stdout = "";
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    output += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    output += text;
  });
  const timer = setTimeout(() => child.kill("SIGKILL"), boundMs);
  try {
    const exitStatus = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    return { exitStatus, stdout, output };
  } finally {
    clearTimeout(timer);
  }
}
