/** Processes that must not outlive their test, however that ends. One listener serves all of them. */
import type { ChildProcess } from "node:child_process";

const kills = new Map<ChildProcess, () => void>();

process.once("exit", () => {
  for (const kill of kills.values()) kill();
});

/** @param kill default: SIGKILL to the process itself */
export function killWithUs(child: ChildProcess, kill: () => void = () => void child.kill("SIGKILL")): void {
  kills.set(child, kill);
  child.once("exit", () => kills.delete(child));
}
