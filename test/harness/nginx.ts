/** A real nginx with a configuration of `deploy/gateway`, on addresses of a test. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { killWithUs } from "./kill_with_us.js";
import { repositoryFile } from "./repository.js";

const START_TIMEOUT_MS = 10_000;
const POLL_MS = 20;

export interface NginxOptions {
  readonly config: "nginx.conf" | "worker_gate.conf";
  /** What stands in the file, and what is to stand there, such as an address. */
  readonly replace: Readonly<Record<string, string>>;
  /** Where it must listen, as "host:port". */
  readonly listens: string;
  /** An existing folder of its own. */
  readonly folder: string;
}

export class Nginx {
  readonly #options: NginxOptions;
  #child: ChildProcess | undefined;

  private constructor(options: NginxOptions) {
    this.#options = options;
  }

  static async start(options: NginxOptions): Promise<Nginx> {
    const nginx = new Nginx(options);
    await nginx.start();
    return nginx;
  }

  get hasEnded(): boolean {
    const child = this.#child;
    return child !== undefined && (child.exitCode !== null || child.signalCode !== null);
  }

  /** Resolves when it accepts connections. */
  async start(): Promise<void> {
    const { folder, listens } = this.#options;
    const file = join(folder, "nginx.conf");
    await writeFile(file, await this.#configuration());
    const env = { PATH: `${process.env["PATH"]}:/usr/sbin` };
    // Not as another user, who could not come to the folder.
    const user = process.getuid?.() === 0 ? "user root;" : "";
    const args = ["-p", folder, "-c", file, "-e", "stderr", "-g", `daemon off; ${user}`];
    const child = spawn("nginx", args, { stdio: ["ignore", "ignore", "pipe"], env, detached: true });
    let said = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      said = (said + text).slice(-4_000);
    });
    child.once("error", () => {}); // it never listens
    this.#child = child;
    killWithUs(child, () => killGroup(child));
    const until = performance.now() + START_TIMEOUT_MS;
    while (!(await accepts(listens))) {
      if (this.hasEnded || performance.now() > until) throw new Error(`nginx does not listen on ${listens}: ${said}`);
      await delay(POLL_MS);
    }
  }

  /** SIGKILL, to its workers as well: they would go on without their master. */
  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    killGroup(child);
    await ended;
    child.stderr?.destroy();
  }

  async #configuration(): Promise<string> {
    const { config, replace, folder } = this.#options;
    const source = repositoryFile(`deploy/gateway/${config}`);
    // Its standard error is a socket here, which cannot be opened by its name.
    const file = (await readFile(source, "utf8")).replaceAll("/dev/stderr", "stderr");
    // What docker-compose.yml mounts where services speak plain text.
    const plain = (name: string) => readFileSync(join(dirname(source), "plain", name), "utf8");
    const whole = file.replace(/include \/etc\/nginx\/mode\/([\w.]+);/g, (_, name: string) => plain(name));
    let text = whole.replaceAll("/tmp/", `${folder}/`);
    for (const [found, wanted] of Object.entries(replace)) {
      if (!text.includes(found)) throw new Error(`${config} has no "${found}"`);
      text = text.replaceAll(found, wanted);
    }
    return text;
  }
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}

async function accepts(address: string): Promise<boolean> {
  const colon = address.lastIndexOf(":");
  const socket = connect(Number(address.slice(colon + 1)), address.slice(0, colon));
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
