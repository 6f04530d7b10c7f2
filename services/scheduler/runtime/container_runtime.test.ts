import { expect, it } from "vitest";
import { ContainerRuntime, KnownWorker } from "./container_runtime.js";
import type { ContainerEnd } from "./docker_exit.js";

/** Containers that exist in name only. */
class NamedContainers extends ContainerRuntime<KnownWorker> {
  readonly name = "named";
  readonly refusals: Error[] = [];

  constructor() {
    super({ schedulerId: "sch-1", compareIntervalMs: 60_000 });
  }

  async limit(): Promise<void> {}

  async listInstallation(): Promise<[]> {
    return [];
  }

  protected known(workerId: string): KnownWorker {
    return new KnownWorker(workerId);
  }

  protected async create(worker: KnownWorker): Promise<string> {
    return worker.id;
  }

  protected async find(): Promise<undefined> {}

  protected async carryOut(): Promise<ContainerEnd> {
    const refusal = this.refusals.pop();
    if (refusal !== undefined) throw refusal;
    return { exitCode: 0, oomKilled: false, wasStopped: true, lastLines: [] };
  }

  protected async compare(): Promise<void> {}
  protected async closeRest(): Promise<void> {}
  protected created(): void {}
  protected forgotten(): void {}
}

it("a stop that the engine refused may be asked for again, and its end is told once", async () => {
  const runtime = new NamedContainers();
  const exits: string[] = [];
  runtime.onExit(({ workerId }) => exits.push(workerId));
  await runtime.start({ workerId: "wrk-1", boot: { schedulerUrl: "", workerId: "wrk-1", workerToken: "" } });
  runtime.refusals.push(new Error("the engine has lost its mind"));
  await expect(runtime.stop("wrk-1")).rejects.toThrow("lost its mind");
  expect(exits).toEqual([]);
  await Promise.all([runtime.stop("wrk-1"), runtime.stop("wrk-1")]);
  expect(exits).toEqual(["wrk-1"]);
  await runtime.close();
});
