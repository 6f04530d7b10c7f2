/** `multinode up`, as users run it. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CLI_PROGRAM } from "./cli_program.js";
import type { RunningTarget } from "./running_target.js";
import { startServerProcess } from "./server_process.js";

export interface EmbeddedTargetOptions {
  /** Default: a new temporary folder, removed at the end. */
  readonly dataDir?: string;
  /** Default 0, a free one. */
  readonly port?: number;
  /** Default false. */
  readonly servesMetrics?: boolean;
  readonly env?: Readonly<Record<string, string>>;
}

export async function startEmbeddedTarget(options: EmbeddedTargetOptions = {}): Promise<RunningTarget> {
  const scratch = await mkdtemp(join(tmpdir(), "multinode-e2e-"));
  const dataDir = options.dataDir ?? join(scratch, "data");
  const metrics = options.servesMetrics === true ? ["--metrics-port", "0"] : [];
  const launch = (port: number | string) =>
    startServerProcess({
      name: "multinode up",
      args: [CLI_PROGRAM, "up", "--port", String(port), "--data-dir", dataDir, "--json", ...metrics],
      env: { MULTINODE_HOME: join(scratch, "home"), ...options.env },
      isAnnouncement: (line) => typeof line["url"] === "string",
    });
  let server = await launch(options.port ?? 0);
  const apiUrl = String(server.announced["url"]);
  const apiKey = (await readFile(join(dataDir, "api-key"), "utf8")).trim();
  return {
    kind: "embedded",
    apiUrl,
    apiKey,
    get metricsUrls() {
      const { metricsUrl } = server.announced;
      return typeof metricsUrl === "string" ? [metricsUrl] : [];
    },
    get servers() {
      return { embedded: server };
    },
    async crash() {
      await server.kill();
      server = await launch(new URL(apiUrl).port);
    },
    async stop() {
      await server.stop();
      await rm(scratch, { recursive: true, force: true });
    },
  };
}
