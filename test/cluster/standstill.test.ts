/**
 * A replica that stands still keeps its connections open and says nothing, which no broken connection tells of. Its clients,
 * and the services that wait for it, go on with the other one within seconds, for as long as it stands still. A scheduler
 * that stands still is in chaos/limits.ts.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MultinodeClient } from "../../sdk/typescript/src/client/client.js";
import { getDeployedFunction } from "../../sdk/typescript/src/index.js";
import { ClusterContainers } from "../harness/cluster_containers.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const MAIN = `
  import { Multinode } from "multinode";
  export const mn = new Multinode();
  export const double = mn.function({ cpu: 1, maxInvocationsPerWorker: Infinity, maxRetries: 1 }, (x: number) => 2 * x);
`;
const CLIENTS = 4;
const CALLS = 3;

const containers = new ClusterContainers();
let target: Target;
let project: DeployedProject;
beforeAll(async () => {
  target = openTarget();
  project = await target.deploy({ "main.ts": MAIN });
});
afterAll(() => target.close());

describe("calls go on while it stands still:", () => {
  test.each(["invocation-1", "invocation-2", "nats"])("%s", async (service) => {
    // Each chooses a replica of its own, and has its streams open when that stops.
    const clients = Array.from({ length: CLIENTS }, () => new MultinodeClient(target));
    const { projectName } = project;
    const handles = clients.map((client) => getDeployedFunction({ projectName, functionName: "double", client }));
    await Promise.all(handles.map((double) => double.callRemote(1)));

    const goOn = await containers.freeze(service);
    try {
      const results = await Promise.all(
        handles.map(async (double) => {
          const own: unknown[] = [];
          for (let call = 0; call < CALLS; call++) own.push(await double.callRemote(call));
          return own;
        }),
      );
      expect(results).toEqual(handles.map(() => [0, 2, 4]));
    } finally {
      await goOn();
      await Promise.all(clients.map((client) => client.close()));
    }
  });
});
