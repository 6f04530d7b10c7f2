import type { ServerProcess } from "./server_process.js";

/** An installation that was started here, and is to be stopped here. */
export interface RunningTarget {
  readonly kind: "embedded" | "services";
  readonly apiUrl: string;
  readonly apiKey: string;
  /** Where its processes serve their metrics now. */
  readonly metricsUrls: readonly string[];
  /** Its processes now, by name. */
  readonly servers: Readonly<Record<string, ServerProcess>>;
  /** Kills all of its processes as a crash does, and starts them again on what they had stored, at the same address. */
  crash(): Promise<void>;
  /** Ends all of its processes and removes its temporary files. */
  stop(): Promise<void>;
}
