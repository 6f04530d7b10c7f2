import { fstatSync, lstatSync, readFileSync, rmSync } from "node:fs";
import { Socket } from "node:net";
import type { BootWork, FirstWork } from "./first_work.js";

/** What a worker must know to find its scheduler. User code must not see it: it holds the worker's token. */
export interface BootConfig {
  /** "http://host:port" or "https://host:port". */
  readonly schedulerUrl: string;
  /** The same of the other schedulers of the installation, one of which goes on with this worker when its own is gone. */
  readonly otherUrls: readonly string[];
  readonly workerId: string;
  readonly workerToken: string;
  /** Folder of unpacked bundles, by digest. Workers of one machine share it. */
  readonly bundleCacheDir: string;
}

const LIFELINE_FD = 3;
const MAX_CONFIG_BYTES = 64 * 1024;

export class BootConfigIsInvalidError extends Error {
  override readonly name = "BootConfigIsInvalidError";
}

/** A file or standard input, read whole by the thread that comes first: what is for the other one is in memory of its own. */
export interface BootFile {
  readonly config: Uint8Array<ArrayBuffer>;
  readonly firstWork: BootWork | undefined;
}

/**
 * Reads a boot file: a line with the configuration as JSON and, where there is first work, one with that. Removes the file
 * where that is possible; never what only leads to it, such as /dev/stdin.
 */
export function readBootFile(path: string): BootFile {
  const bytes = readFileSync(path);
  try {
    if (lstatSync(path).isFile()) rmSync(path);
  } catch {
    // Mounted by the runtime, which removes it.
  }
  const [configEnd = bytes.byteLength] = [bytes.indexOf("\n")].filter((at) => at >= 0);
  const config = new Uint8Array(bytes.subarray(0, configEnd));
  const work = bytes.toString("utf8", configEnd).trim();
  bytes.fill(0); // the token of the worker is not for user code
  return { config, firstWork: work === "" ? undefined : (JSON.parse(work) as BootWork) };
}

/** What `readBootFile` reads. */
export function bootFileText(config: Omit<BootConfig, "otherUrls">, firstWork?: FirstWork): string {
  const { bundleCacheDir } = config;
  const work: BootWork | undefined = firstWork && { ...firstWork, bundleCacheDir };
  return [config, work].flatMap((part) => (part === undefined ? [] : `${JSON.stringify(part)}\n`)).join("");
}

/**
 * Reads the configuration from file descriptor 3, a socket whose first line is JSON. The socket stays open for as long as
 * the process that started this worker lives: `onLost` is called once it does not any more, even if it was killed.
 */
export function readLifeline(onLost: () => void): Promise<BootConfig> {
  return new Promise((resolve, reject) => {
    if (!isStream(LIFELINE_FD)) {
      reject(new BootConfigIsInvalidError("no configuration: neither file descriptor 3 nor MULTINODE_WORKER_CONFIG"));
      return;
    }
    const socket = new Socket({ fd: LIFELINE_FD, readable: true, writable: false });
    let text = "";
    let isRead = false;
    socket.setEncoding("utf8");
    socket.on("data", (chunk: string) => {
      if (isRead) return;
      text += chunk;
      const lineEnd = text.indexOf("\n");
      if (lineEnd < 0 && text.length <= MAX_CONFIG_BYTES) return;
      isRead = true;
      try {
        resolve(parseConfig(text.slice(0, lineEnd)));
      } catch (error) {
        reject(error);
      }
    });
    // Reading goes on after the line: only so is the end of the stream seen.
    socket.on("error", onLost);
    socket.on("close", onLost);
  });
}

function isStream(fd: number): boolean {
  try {
    const stat = fstatSync(fd);
    return stat.isSocket() || stat.isFIFO();
  } catch {
    return false;
  }
}

export function parseConfig(text: string): BootConfig {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    throw new BootConfigIsInvalidError("the configuration is not JSON");
  }
  const valueOf = (key: keyof BootConfig): unknown =>
    typeof parsed === "object" && parsed !== null ? Reflect.get(parsed, key) : undefined;
  const read = (key: keyof BootConfig): string => {
    const value = valueOf(key);
    if (typeof value !== "string" || value === "") {
      throw new BootConfigIsInvalidError(`the configuration has no "${key}"`);
    }
    return value;
  };
  const others = valueOf("otherUrls");
  return {
    schedulerUrl: read("schedulerUrl"),
    otherUrls: Array.isArray(others) ? others.map(String) : [],
    workerId: read("workerId"),
    workerToken: read("workerToken"),
    bundleCacheDir: read("bundleCacheDir"),
  };
}
