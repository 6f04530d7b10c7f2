/** The containers of the cluster that vitest's global setup has started: what tests look at from outside, and kill. */
import Docker, { type ContainerInspectInfo } from "dockerode";
import { inject } from "vitest";
import { LABELS } from "../../services/scheduler/runtime/docker_profile.js";
import { eventually } from "./observe.js";

const SERVICE = "com.docker.compose.service";

export class ClusterContainers {
  readonly #docker: Docker;

  constructor() {
    const socketPath = inject("dockerSocket");
    if (socketPath === undefined) throw new Error("there is no cluster: run the vitest project `cluster`");
    this.#docker = new Docker({ socketPath, host: undefined });
  }

  /** Of a service of docker-compose.yml. */
  async service(name: string): Promise<ContainerInspectInfo> {
    const [found] = await this.#docker.listContainers({ all: true, filters: { label: [`${SERVICE}=${name}`] } });
    if (found === undefined) throw new Error(`there is no container of ${name}`);
    return await this.#docker.getContainer(found.Id).inspect();
  }

  async addressOf(name: string, network: string): Promise<string> {
    const { NetworkSettings } = await this.service(name);
    const address = NetworkSettings.Networks[network]?.IPAddress;
    if (address === undefined) throw new Error(`${name} is not in the network ${network}`);
    return address;
  }

  /** Crashes services at the same moment, and waits until they are back, which is the engine's matter. */
  async crash(...names: readonly string[]): Promise<void> {
    const before = await Promise.all(names.map((name) => this.service(name)));
    // Not by the engine: what that kills it takes for stopped, and does not start again.
    for (const { State } of before) process.kill(State.Pid, "SIGKILL");
    for (const [index, name] of names.entries()) {
      await eventually(
        () => this.service(name),
        ({ State }) =>
          State.Running && State.Pid !== before[index]?.State.Pid && (State.Health?.Status ?? "healthy") === "healthy",
      );
    }
  }

  /** Whatever a service is doing, it goes on with when the answered function is called: its connections stay open meanwhile. */
  async freeze(name: string): Promise<() => Promise<void>> {
    const container = this.#docker.getContainer((await this.service(name)).Id);
    await container.pause();
    return async () => {
      await container.unpause();
    };
  }

  /** The container of a worker, whatever its state; undefined: there is none. */
  async worker(workerId: string): Promise<ContainerInspectInfo | undefined> {
    const filters = { label: [`${LABELS.worker}=${workerId}`] };
    const [found] = await this.#docker.listContainers({ all: true, filters });
    if (found === undefined) return undefined;
    return await this.#docker
      .getContainer(found.Id)
      .inspect()
      .catch((error: { statusCode?: number }) => {
        if (error.statusCode !== 404) throw error; // it was removed meanwhile
        return undefined;
      });
  }

  /** The service whose scheduler has started a worker. */
  async starterOf(worker: ContainerInspectInfo): Promise<string> {
    const names = ["scheduler-1", "scheduler-2"];
    for (const name of names) {
      const id = await this.#printed(name, ["node", "-p", 'fs.readFileSync("/data/scheduler-id", "utf8")']);
      if (id.trim() === worker.Config.Labels[LABELS.scheduler]) return name;
    }
    throw new Error(`none of ${names.join(", ")} has started ${worker.Name}`);
  }

  async #printed(service: string, command: string[]): Promise<string> {
    const container = this.#docker.getContainer((await this.service(service)).Id);
    const exec = await container.exec({ Cmd: command, AttachStdout: true, Tty: true });
    const pieces: Buffer[] = [];
    for await (const piece of await exec.start({ Tty: true })) pieces.push(piece as Buffer);
    return Buffer.concat(pieces).toString();
  }
}
