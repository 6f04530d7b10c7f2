/**
 * Code that heeds nothing, and processes that it has started to outlive it, are gone with their container within the grace
 * period and 5 s, whoever asked for it and whatever becomes of the schedulers meanwhile.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ClusterContainers } from "../harness/cluster_containers.js";
import { GATE_SOURCE, Gates } from "../harness/gate.js";
import { eventually, untilState } from "../harness/observe.js";
import { type DeployedProject, openTarget, type Target } from "../harness/target.js";

const GRACE_MS = 4_000;
const TIMEOUT_MS = 12_000;
/** As docs/guarantees.md has it. */
const AFTER_GRACE_MS = 5_000;

const FILES = {
  "main.ts": `
    import { getContext, Multinode } from "multinode";
    import { holdLine, note, spawnHolders } from "./gate.js";
    export const mn = new Multinode();
    const options = { cpu: 1, gracePeriod: ${GRACE_MS}, maxRetries: 3 };
    const stubborn = async (notes: string, own: string, ...others: string[]) => {
      process.on("SIGTERM", () => {});
      getContext().signal.addEventListener("abort", () => void note(notes, "told"));
      await holdLine(own);
      spawnHolders("daemons", ...others);
      await new Promise((resolve) => setTimeout(resolve, 120_000));
    };
    export const endless = mn.function(options, stubborn);
    export const limited = mn.function({ ...options, timeout: ${TIMEOUT_MS} }, stubborn);
  `,
  "gate.ts": GATE_SOURCE,
};

const containers = new ClusterContainers();
const gates = await Gates.open();
let target: Target;
beforeAll(() => {
  target = openTarget();
});
afterAll(async () => {
  gates.close();
  await target.close();
});

/** A running invocation with a child process and a grandchild, each of them a daemon. */
async function startFamily(project: DeployedProject, name: string) {
  const fn = project.fn(name);
  const notes = gates.place();
  const lines = [gates.place(), gates.place(), gates.place()];
  const id = await fn.start(notes, ...lines);
  const alive = async () => {
    const counts = await Promise.all(lines.map((line) => gates.holders(line)));
    return counts.filter(({ now }) => now > 0).length;
  };
  await eventually(alive, (count) => count === 3);
  const { executions } = await fn.get(id);
  const workerId = executions[0]?.workerId ?? "";
  const worker = await containers.worker(workerId);
  if (worker === undefined) throw new Error("its worker has no container");
  return { fn, id, workerId, worker, alive, wasTold: () => gates.notes(notes).length > 0 };
}

type Family = Awaited<ReturnType<typeof startFamily>>;

async function expectGone({ workerId, alive }: Family, sinceMs: number): Promise<void> {
  await eventually(
    async () => (await containers.worker(workerId)) === undefined,
    (isGone) => isGone,
  );
  expect(performance.now() - sinceMs).toBeLessThan(GRACE_MS + AFTER_GRACE_MS);
  expect(await alive()).toBe(0);
}

/** Ways to interrupt what runs. The grace period begins when each resolves. */
const CAUSES: Readonly<Record<string, (project: DeployedProject, family: Family) => Promise<unknown>>> = {
  cancel: (_, { fn, id }) => fn.cancel(id),
  timeout: (_, { wasTold }) =>
    eventually(
      () => wasTold(),
      (told) => told,
    ),
  undeploy: ({ projectName }) => target.client.registry.deleteProject({ projectName }),
};

describe.each(Object.entries(CAUSES))("%s", (cause, interrupt) => {
  const name = cause === "timeout" ? "limited" : "endless";

  test.each([
    ["while its schedulers live", async () => undefined],
    ["while its scheduler is killed", async (family: Family) => [await containers.starterOf(family.worker)]],
    ["while all schedulers are killed", async () => ["scheduler-1", "scheduler-2"]],
  ])("ends all that a function has started, %s", async (_, victimsOf) => {
    const project = await target.deploy(FILES);
    const family = await startFamily(project, name);
    const victims = await victimsOf(family);
    await interrupt(project, family);
    const sinceMs = performance.now();
    if (victims !== undefined) {
      await eventually(
        () => family.wasTold(),
        (told) => told,
      );
      expect(await family.alive()).toBe(3);
      const back = containers.crash(...victims);
      const [gone] = await Promise.allSettled([expectGone(family, sinceMs), back]);
      if (gone.status === "rejected") throw gone.reason;
    } else {
      await expectGone(family, sinceMs);
    }
    if (cause === "undeploy") {
      const { projectName } = project;
      await eventually(
        () => target.client.registry.getProject({ projectName }).catch((error: { reason: string }) => error.reason),
        (answer) => answer === "ProjectDoesNotExist",
      );
    } else {
      const ended = await untilState(family.fn, family.id, ({ terminated }) => terminated);
      expect(ended.status).toBe(cause === "cancel" ? "CANCELLED" : "TIMED_OUT");
      expect((await family.fn.get(family.id)).executions).toHaveLength(1);
    }
  });
});
