/** What becomes of a worker's job, from what Swarm says of its tasks and nodes: pure. */

/** A task as the engine's API shows it, as far as it is used. */
export interface SwarmTask {
  readonly ID: string;
  readonly NodeID?: string;
  readonly Spec: { readonly ContainerSpec?: { readonly Labels?: Readonly<Record<string, string>> } };
  readonly Status: {
    readonly State: string;
    readonly Err?: string;
    readonly Message?: string;
    readonly ContainerStatus?: { readonly ExitCode?: number };
  };
}

export interface SwarmNode {
  readonly ID: string;
  readonly Description?: { readonly Hostname?: string; readonly Resources?: { readonly NanoCPUs?: number } };
  readonly Status?: { readonly State?: string };
}

export type JobState =
  /** There is no task yet, or none any more. */
  | { readonly kind: "none" }
  | {
      readonly kind: "coming";
      readonly description: string;
      /** Whether Swarm can do nothing for it now, such as where no node takes it. */
      readonly isHeldUp: boolean;
    }
  | { readonly kind: "running"; readonly node: string }
  /** What there was of it is over, whatever else Swarm makes of the job. */
  | { readonly kind: "ended"; readonly description: string };

/** A task in any other state has no process any more, and gets none. */
const LIVING = new Set(["new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running"]);

export function jobStateOf(tasks: readonly SwarmTask[], nodes: ReadonlyMap<string, SwarmNode>): JobState {
  const over = tasks.find((task) => !isLiving(task));
  if (over !== undefined) return { kind: "ended", description: describeEnd(over) };
  const [task] = tasks;
  if (task === undefined) return { kind: "none" };
  const { State, Err, Message } = task.Status;
  if (State !== "running") {
    const isHeldUp = Err !== undefined && Err !== "";
    return { kind: "coming", description: `${State}: ${isHeldUp ? Err : (Message ?? "")}`, isHeldUp };
  }
  return { kind: "running", node: nodes.get(task.NodeID ?? "")?.Description?.Hostname ?? "a node" };
}

/** Which of a worker's tasks may have processes: "somewhere", "out of reach" (on nodes that are down), or "nowhere". */
export function whereAlive(
  tasks: readonly SwarmTask[],
  nodes: ReadonlyMap<string, SwarmNode>,
): "nowhere" | "out of reach" | "somewhere" {
  const living = tasks.filter(isLiving);
  if (living.length === 0) return "nowhere";
  const isDown = ({ NodeID }: SwarmTask) => NodeID !== undefined && nodes.get(NodeID)?.Status?.State !== "ready";
  return living.every(isDown) ? "out of reach" : "somewhere";
}

/** The processors of the smallest node: a container that asks for more than its node has is refused. */
export function fewestCpus(nodes: Iterable<SwarmNode>): number {
  const cpus = [...nodes].flatMap(({ Description }) => Description?.Resources?.NanoCPUs ?? []);
  return Math.min(...cpus) / 1e9;
}

function isLiving({ Status }: SwarmTask): boolean {
  return LIVING.has(Status.State);
}

function describeEnd({ Status }: SwarmTask): string {
  const { State, Err, ContainerStatus } = Status;
  if (State === "complete") return `exited with code ${ContainerStatus?.ExitCode ?? 0}`;
  return `was ended by Swarm (${State}${Err ? `: ${Err}` : ""})`;
}
