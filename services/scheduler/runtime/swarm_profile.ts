/**
 * What a worker is made of on a Swarm: a job of one task, with the limits and the labels of the Docker runtime's containers
 * (docker_profile.ts), and a secret.
 *
 * S1. Its program runs as nobody: no capabilities, no new privileges, read-only root. Its first process is not the program:
 *     it is root, with the three capabilities that giving all this up needs, and hands over the boot, which is in a secret
 *     that only root may read. So neither the environment nor a file shows it to the function.
 * S2. When the program has ended, its first process says how, and stays. Swarm tells nobody that memory was the cause, and
 *     engine 20.10 never forgets a job's task that ended by itself (moby issue 42789).
 */
import type { CreateServiceOptions, NetworkCreateOptions, SecretSpec } from "dockerode";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import {
  CODE_FOLDER,
  type ContainerSettings,
  LABELS,
  LOGS,
  labelsOf,
  memoryLimitOf,
  NOBODY,
  nameOf,
  nameServersOf,
  nanoCpusOf,
  OPEN_FILES,
  WORKER_COMMAND,
} from "./docker_profile.js";
import type { WorkerResources } from "./runtime.js";

export type SwarmSettings = Omit<ContainerSettings, "ociRuntime">;

export interface ProgramEnd {
  readonly exitCode: number;
  /** Whether the kernel ended something in the container because its memory was full. */
  readonly oomKilled: boolean;
  /** The rest of its own output, which stands on the same line. */
  readonly rest: string;
}

const BOOT_FILE = "multinode-boot";
/** How long what has ended stays: longer than all schedulers of an installation are away in an upgrade. */
const STAY_S = 3_600;
/** Where the kernel counts what it ended for memory: cgroups of version 1 and 2. */
const OOM_COUNTS = "/sys/fs/cgroup/memory/memory.oom_control /sys/fs/cgroup/memory.events";
/** What the program printed last may have had no end of its line. */
const ENDED = /^(.*)multinode: the worker ended, code (\d+), killed for memory (\d+)$/;

/** `cat`: a file that only root may read cannot be opened again as /dev/stdin, a pipe can. */
const FIRST_PROCESS = `
setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all -- \\
  sh -c 'cat | "$@"' worker "$@" < /run/secrets/${BOOT_FILE}
code=$? killed=0
for file in ${OOM_COUNTS}; do
  if [ -r "$file" ]; then
    while read -r key count; do
      if [ "$key" = oom_kill ]; then killed=$count; fi
    done < "$file"
  fi
done
echo "multinode: the worker ended, code $code, killed for memory $killed"
exec sleep ${STAY_S}`;

/** What the first process says of the program's end (S2); undefined for all else that is printed. */
export function programEndIn(line: string): ProgramEnd | undefined {
  const [, rest = "", code, killed] = ENDED.exec(line) ?? [];
  return code === undefined ? undefined : { exitCode: Number(code), oomKilled: Number(killed) > 0, rest };
}

/** @param secretId the engine's name for the secret that holds its boot */
export function workerService(
  settings: SwarmSettings,
  workerId: string,
  resources: WorkerResources,
  secretId: string,
): CreateServiceOptions {
  const name = nameOf(settings.installationId, workerId);
  const { Memory } = memoryLimitOf(resources.memoryBytes);
  const names = nameServersOf(settings);
  return {
    Name: name,
    Labels: labelsOfWorker(settings, workerId),
    Mode: { ReplicatedJob: { MaxConcurrent: 1, TotalCompletions: 1 } },
    EndpointSpec: { Mode: "dnsrr" }, // nobody connects to a worker
    TaskTemplate: {
      RestartPolicy: { Condition: "none" },
      Resources: {
        Limits: { MemoryBytes: Memory, NanoCPUs: nanoCpusOf(resources.cpu), Pids: LIMITS.containerProcesses },
      },
      Networks: [{ Target: settings.network }],
      LogDriver: { Name: LOGS.driver, Options: LOGS.options },
      ContainerSpec: {
        Image: settings.image,
        Labels: labelsOfWorker(settings, workerId),
        Command: ["sh", "-c", FIRST_PROCESS, "sh", ...WORKER_COMMAND],
        Env: ["MULTINODE_WORKER_CONFIG=/dev/stdin", "HOME=/tmp"],
        Dir: "/tmp",
        User: "0:0", // S1
        CapabilityDrop: ["ALL"],
        CapabilityAdd: ["SETUID", "SETGID", "SETPCAP"],
        ReadOnly: true,
        Init: true,
        StopSignal: "SIGKILL",
        ...(names === undefined ? {} : { DNSConfig: { Nameservers: names.servers, Options: names.options } }),
        Ulimits: OPEN_FILES,
        Mounts: [tmpfs("/tmp", LIMITS.containerTmpBytes), tmpfs(CODE_FOLDER, LIMITS.containerCodeBytes)],
        Secrets: [{ SecretID: secretId, SecretName: name, File: { Name: BOOT_FILE, UID: "0", GID: "0", Mode: 0o400 } }],
      },
    },
  };
}

export function workerSecret(settings: SwarmSettings, workerId: string, text: string): SecretSpec {
  return {
    Name: nameOf(settings.installationId, workerId),
    Labels: labelsOfWorker(settings, workerId),
    Data: Buffer.from(text).toString("base64"),
  };
}

/** No way out of the nodes. Whoever forwards to the schedulers joins it, which is why it is attachable. */
export function workerOverlay(name: string, installationId: string): NetworkCreateOptions {
  return {
    Name: name,
    CheckDuplicate: true,
    Driver: "overlay",
    Internal: true,
    Attachable: true,
    Labels: { [LABELS.installation]: installationId },
  };
}

function labelsOfWorker(settings: SwarmSettings, workerId: string): Record<string, string> {
  return { ...labelsOf(settings, "worker"), [LABELS.worker]: workerId };
}

/** Swarm takes no owner and no `exec`: native addons cannot be loaded. Nobody else is in the container. */
function tmpfs(target: string, sizeBytes: number) {
  return { Type: "tmpfs" as const, Target: target, Source: "", TmpfsOptions: { SizeBytes: sizeBytes, Mode: 0o1777 } };
}
