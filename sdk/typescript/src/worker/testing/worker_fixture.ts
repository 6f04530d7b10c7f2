import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { createArchive } from "../../bundle/archive.js";
import { EXAMPLE_MAIN } from "./example_main.js";
import { FakeScheduler } from "./fake_scheduler.js";
import { buildWorker, spawnWorker, type WorkerProcess } from "./spawn_worker.js";

/** Bundle of the example functions. */
export const EXAMPLE = createArchive(new Map([["main.mjs", { data: Buffer.from(EXAMPLE_MAIN) }]]));

/** A scheduler and a worker of its own for each test. */
export class WorkerFixture {
  scheduler = new FakeScheduler();
  cacheDir = "";
  workerFile = "";
  #worker: WorkerProcess | undefined;

  get worker(): WorkerProcess {
    if (this.#worker === undefined) throw new Error("the worker has not been started");
    return this.#worker;
  }

  async start(workerFile: string, cacheDir: string): Promise<void> {
    this.cacheDir = cacheDir;
    this.workerFile = workerFile;
    this.scheduler = new FakeScheduler();
    this.scheduler.bundles.set(EXAMPLE.digest, EXAMPLE.bytes);
    await this.scheduler.start();
    this.#worker = spawnWorker(workerFile, { schedulerUrl: this.scheduler.url, bundleCacheDir: cacheDir });
  }

  async stop(): Promise<void> {
    this.#worker?.kill();
    await this.#worker?.exited;
    this.scheduler.stop();
  }

  /** Begins the execution "e1" of an example function, and waits until it runs. */
  async begin(functionName: string, args: readonly unknown[] = []): Promise<void> {
    this.scheduler.bind(functionName, EXAMPLE.digest);
    this.scheduler.assign("e1", args);
    await this.scheduler.until(() => this.scheduler.of("started").length > 0, "the start");
  }

  /** Runs an example function as "e1", and answers how it ended. */
  async run(functionName: string, args: readonly unknown[] = [], named?: Record<string, unknown>): Promise<unknown> {
    this.scheduler.bind(functionName, EXAMPLE.digest);
    this.scheduler.assign("e1", args, named);
    return this.scheduler.outcome("e1");
  }
}

/** Builds the worker for the tests of a file, and gives each of them a new one. */
export function useWorker(): WorkerFixture {
  const fixture = new WorkerFixture();
  let workerFile = "";
  let cacheDir = "";
  beforeAll(async () => {
    workerFile = await buildWorker();
    cacheDir = await mkdtemp(join(tmpdir(), "multinode-worker-cache-"));
  });
  afterAll(async () => {
    await rm(dirname(workerFile), { recursive: true });
    await rm(cacheDir, { recursive: true });
  });
  beforeEach(() => fixture.start(workerFile, cacheDir));
  afterEach(() => fixture.stop());
  return fixture;
}
