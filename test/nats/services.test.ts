/** The services as processes of their own, which hear each other over NATS: while it is there, gone, and back. */
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { connectTarget, type DeployedProject, type Target } from "../harness/connected_target.js";
import { NatsServer } from "../harness/nats.js";
import { type ServicesTarget, startServicesTarget } from "../harness/services_target.js";

const NAMES = ["registry", "invocation", "scheduler"] as const;
const MAIN = `
  import { getContext, Multinode } from "multinode";
  export const mn = new Multinode();
  export const double = mn.function({}, (value: number) => value * 2);
  export const wait = mn.function({}, async () => {
    const { signal } = getContext();
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    signal.throwIfAborted();
  });
`;
/** A cancellation without a hint is found with the next renewal of the lease. */
const WITHOUT_HINTS = { timeout: 15_000, interval: 50 };
const WITH_HINTS = { timeout: 4_000, interval: 20 };

let nats: NatsServer;
let services: ServicesTarget;
let target: Target;
let project: DeployedProject;

beforeAll(async () => {
  // Not started yet: the services must start without it.
  nats = await NatsServer.create();
  services = await startServicesTarget(undefined, {
    env: (name) => ({ MULTINODE_NATS_URL: nats.url(name), MULTINODE_LOG_LEVEL: "info" }),
  });
  target = connectTarget(services);
  project = await target.deploy({ "main.ts": MAIN });
});
afterAll(async () => {
  await target.close();
  await services.stop();
  await nats.close();
});

const logged = (text: string) =>
  NAMES.map((name) => services.servers[name]?.logged().filter(({ msg }) => msg === text));

async function callAndCancel(bound: { timeout: number; interval: number }): Promise<void> {
  expect(await project.fn<(value: number) => number>("double").callRemote(21)).toBe(42);
  const wait = project.fn("wait");
  const id = await wait.start();
  await vi.waitFor(async () => expect((await wait.get(id)).status).toBe("RUNNING"), bound);
  await wait.cancel(id);
  await vi.waitFor(async () => expect((await wait.get(id)).status).toBe("CANCELLED"), bound);
}

it("without a server they do all that they should, only later", () => callAndCancel(WITHOUT_HINTS));

it("with one they connect, and are allowed all that they do", async () => {
  await nats.start();
  const connected = () => expect(logged("connected to NATS").map((lines) => lines?.length)).toEqual([1, 1, 1]);
  await vi.waitFor(connected, WITHOUT_HINTS);
  await callAndCancel(WITH_HINTS);
  expect(logged("NATS refuses an event or a subscription")).toEqual([[], [], []]);
});

it("when it is killed they go on, and come back to it", async () => {
  await nats.kill();
  await callAndCancel(WITHOUT_HINTS);
  await nats.start();
  const connected = () => expect(logged("connected to NATS").map((lines) => lines?.length)).toEqual([2, 2, 2]);
  await vi.waitFor(connected, WITHOUT_HINTS);
  await callAndCancel(WITH_HINTS);
  expect(logged("NATS refuses an event or a subscription")).toEqual([[], [], []]);
});

it("end in order while it is gone", async () => {
  await nats.kill();
  for (const name of NAMES.toReversed()) {
    await services.servers[name]?.stop();
    expect(await services.servers[name]?.ended).toBe(0);
  }
});
