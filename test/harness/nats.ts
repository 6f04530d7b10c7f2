/** A real nats-server on a free port of 127.0.0.1, with a temporary folder of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { freePort } from "./free_port.js";
import { killWithUs } from "./kill_with_us.js";
import { repositoryFile } from "./repository.js";

export const openToAll = "open to all";

const START_TIMEOUT_MS = 10_000;

export type NatsUser = "registry" | "invocation" | "scheduler" | "observer";

export interface NatsServerOptions {
  /** File of `deploy/nats`; default: "nats-server.conf". `openToAll` lets each of the users say and hear everything. */
  readonly config?: "nats-server.conf" | "nats-server-tls.conf" | typeof openToAll;
  /** Where it listens; default: 127.0.0.1. */
  readonly host?: string;
  /** For the configuration, beside the passwords. */
  readonly env?: Readonly<Record<string, string>>;
}

export class NatsServer {
  readonly port: number;
  readonly #folder: string;
  readonly #options: NatsServerOptions;
  #child: ChildProcess | undefined;

  private constructor(port: number, folder: string, options: NatsServerOptions) {
    this.port = port;
    this.#folder = folder;
    this.#options = options;
  }

  /** Not started yet. */
  static async create(options: NatsServerOptions = {}): Promise<NatsServer> {
    return new NatsServer(await freePort(), await mkdtemp(join(tmpdir(), "multinode-nats-")), options);
  }

  static async start(options: NatsServerOptions = {}): Promise<NatsServer> {
    const server = await NatsServer.create(options);
    await server.start();
    return server;
  }

  url(user: NatsUser, protocol: "nats" | "tls" = "nats"): string {
    return `${protocol}://${user}:${passwordOf(user)}@127.0.0.1:${this.port}`;
  }

  /** Resolves when it accepts connections. */
  async start(): Promise<void> {
    const { config = "nats-server.conf", env = {} } = this.#options;
    const file = config === openToAll ? join(this.#folder, "open.conf") : repositoryFile(`deploy/nats/${config}`);
    if (config === openToAll) await writeFile(file, OPEN_CONFIG);
    const child = spawn("nats-server", ["-c", file, "-a", this.#options.host ?? "127.0.0.1", "-p", String(this.port)], {
      cwd: this.#folder,
      stdio: ["ignore", "ignore", "pipe"],
      env: { PATH: `${process.env["PATH"]}:/usr/sbin`, ...passwords(), ...env },
    });
    this.#child = child;
    killWithUs(child);
    await ready(child);
  }

  /** In order. */
  async stop(): Promise<void> {
    await this.#end("SIGTERM");
  }

  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** It keeps its connections, and does nothing. */
  pause(): void {
    this.#child?.kill("SIGSTOP");
  }

  resume(): void {
    this.#child?.kill("SIGCONT");
  }

  async close(): Promise<void> {
    await this.kill();
    await rm(this.#folder, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill(signal);
    await ended;
    child.stderr?.destroy();
  }
}

/** Rejects with what it said where it does not start. */
async function ready(child: ChildProcess): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  if (child.stderr === null) throw new Error("its standard error is not a pipe");
  let said = "";
  createInterface({ input: child.stderr }).on("line", (line) => {
    said = `${said}\n${line}`.slice(-4_000);
    if (line.includes("Server is ready")) resolve();
  });
  child.once("error", reject);
  child.once("close", (code) => reject(new Error(`nats-server ended with ${code}: ${said}`)));
  const timer = setTimeout(() => reject(new Error(`nats-server is not ready: ${said}`)), START_TIMEOUT_MS);
  try {
    await promise;
  } finally {
    clearTimeout(timer);
  }
}

export const NATS_USERS: readonly NatsUser[] = ["registry", "invocation", "scheduler", "observer"];

export function passwordOf(user: NatsUser): string {
  return `secret-of-${user}`;
}

const OPEN_CONFIG = `authorization { users: [
${NATS_USERS.map((user) => `  { user: ${user}, password: ${passwordOf(user)} }`).join("\n")}
] }`;

function passwords(): Record<string, string> {
  return Object.fromEntries(
    NATS_USERS.map((user) => [`MULTINODE_NATS_${user.toUpperCase()}_PASSWORD`, passwordOf(user)]),
  );
}
