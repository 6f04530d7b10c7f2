// Every suite of tests, in the order in which they run. To add one, add an entry; nothing else knows their names.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./toolchain.mjs";

/** Debian's packages are for Debian's own Python, whatever other stands before it on the PATH. */
const DEBIAN_PYTHON = "/usr/bin/python3";
const PYTHON = existsSync("/etc/debian_version") && existsSync(DEBIAN_PYTHON) ? DEBIAN_PYTHON : "python3";

/** A Debian package, and the command that tells whether what it brings is there, on any system. */
const PYTHON_GRPC = { debian: "python3-grpcio", probe: [PYTHON, "-c", "import grpc, google.protobuf"] };
const PROTOC = { debian: "protobuf-compiler", probe: ["protoc", "--version"] };
const PYTHON_PLUGIN = { debian: "protobuf-compiler-grpc", probe: ["sh", "-c", "command -v grpc_python_plugin"] };

const NATS_SERVER = { debian: "nats-server", probe: ["sh", "-c", 'PATH="$PATH:/usr/sbin" nats-server --version'] };

const OPENSSL = { debian: "openssl", probe: ["openssl", "version"] };
/** Its programs lie off the PATH in Debian. */
const POSTGRES = {
  debian: "postgresql",
  probe: ["sh", "-c", "ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb"],
};

/** A file system of a few megabytes, made and taken away again. */
const SMALL_DISK = {
  enable: "run it as root, where mounting is allowed",
  probe: ["sh", "-c", 'dir=$(mktemp -d) && mount -t tmpfs -o size=1m tmpfs "$dir" && umount "$dir" && rmdir "$dir"'],
};

const NGINX = { debian: "nginx", probe: ["sh", "-c", 'PATH="$PATH:/usr/sbin" nginx -v'] };

const DOCKER = {
  debian: "docker.io",
  probe: ["sh", "-c", "command -v dockerd && command -v containerd && command -v docker"],
};
/** Where a container can be made. */
const CONTAINERS = {
  enable: "run it as root, outside of an unprivileged container",
  probe: ["unshare", "--mount", "--net", "true"],
};

const NFT = { debian: "nftables", probe: ["sh", "-c", 'PATH="$PATH:/usr/sbin" nft --version'] };

/** Tunnels between the nodes of a Swarm. */
const VXLAN = {
  enable: "use a kernel with VXLAN",
  probe: ["unshare", "--net", "ip", "link", "add", "probe", "type", "vxlan", "id", "1", "dstport", "4789", "dev", "lo"],
};

const COMPOSE = {
  debian: "docker-compose",
  probe: ["sh", "-c", "docker compose version || docker-compose version"],
};
const CLUSTER = [DOCKER, CONTAINERS, COMPOSE, POSTGRES, NATS_SERVER, NGINX];

/** A network of its own, in which an engine cannot touch the bridges and the firewall of another one. */
const OWN_NETWORK = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$0" "$@"'];

/**
 * name     as printed
 * source   the suite exists when this does
 * project  of vitest.config.ts; such a suite counts test by test
 * command  a program of its own; such a suite counts as one
 * within   a command that runs the suite's own
 * env      variables for it, beside those of this process
 * needs    what the machine must have beside Node
 * beside   runs at the same time as the last one without it, after those beside it already: both wait more than they compute
 * boundMs  it is killed after this
 */
const SUITES = [
  { name: "unit", source: "vitest.config.ts", project: "unit", boundMs: 300_000 },
  // The contract of databases and what stands on it once more, on a PostgreSQL of its own.
  { name: "postgres", source: "test/postgres", project: "postgres", needs: [POSTGRES], boundMs: 300_000 },
  {
    name: "python",
    source: "test/python",
    project: "python",
    env: { MULTINODE_TEST_PYTHON: PYTHON },
    needs: [PYTHON_GRPC, PROTOC, PYTHON_PLUGIN],
    beside: true,
    boundMs: 180_000,
  },
  { name: "nats", source: "test/nats", project: "nats", needs: [NATS_SERVER, OPENSSL], beside: true, boundMs: 120_000 },
  { name: "tls", source: "test/tls", project: "tls", needs: [OPENSSL], beside: true, boundMs: 120_000 },
  { name: "faults", source: "test/chaos/faults", project: "faults", boundMs: 180_000 },
  {
    name: "full-disk",
    source: "test/chaos/faults/disk",
    project: "full-disk",
    needs: [SMALL_DISK],
    boundMs: 120_000,
  },
  // The same tests on `multinode up`, on the three services as processes of their own, and on these with PostgreSQL and NATS.
  { name: "e2e-embedded", source: "test/e2e", project: "e2e-embedded", boundMs: 420_000 },
  { name: "e2e-services", source: "test/e2e", project: "e2e-services", boundMs: 420_000 },
  {
    name: "e2e-stores",
    source: "test/e2e",
    project: "e2e-stores",
    needs: [POSTGRES, NATS_SERVER],
    boundMs: 420_000,
  },
  // The same tests as the other e2e- ones, on the cluster of docker-compose.yml with workers in containers.
  {
    name: "e2e-cluster",
    source: "test/e2e",
    project: "e2e-cluster",
    within: OWN_NETWORK,
    needs: CLUSTER,
    boundMs: 600_000,
  },
  // Starts engines of its own and makes its images of this machine's Node: no registry is asked.
  {
    name: "docker",
    source: "test/docker",
    project: "docker",
    within: OWN_NETWORK,
    needs: [DOCKER, CONTAINERS, NFT],
    beside: true,
    boundMs: 420_000,
  },
  // It kills all services of a cluster, whose workers give up after a while: not beside what needs the whole machine.
  {
    name: "cluster",
    source: "test/cluster",
    project: "cluster",
    within: OWN_NETWORK,
    needs: CLUSTER,
    boundMs: 420_000,
  },
  // A Swarm of two nodes, each with a network of its own.
  {
    name: "swarm",
    source: "test/swarm",
    project: "swarm",
    within: OWN_NETWORK,
    needs: [DOCKER, CONTAINERS, VXLAN],
    beside: true,
    boundMs: 420_000,
  },
  // Each prints its seed; without --short they run for minutes.
  {
    name: "chaos",
    source: "test/chaos/main.ts",
    command: ["node", "build/test/chaos/main.js", "--short"],
    beside: true,
    boundMs: 300_000,
  },
  {
    name: "chaos-services",
    source: "test/chaos/services.ts",
    command: ["node", "build/test/chaos/services.js", "--short"],
    beside: true,
    boundMs: 300_000,
  },
  // Clusters of the services, on PostgreSQL and NATS, behind nginx.
  {
    name: "chaos-docker",
    source: "test/chaos/cluster.ts",
    command: ["node", "build/test/chaos/cluster.js", "--short", "--runtime", "docker"],
    within: OWN_NETWORK,
    needs: [POSTGRES, NATS_SERVER, NGINX, DOCKER, CONTAINERS],
    boundMs: 300_000,
  },
  {
    name: "chaos-cluster",
    source: "test/chaos/cluster.ts",
    command: ["node", "build/test/chaos/cluster.js", "--short"],
    needs: [POSTGRES, NATS_SERVER, NGINX],
    beside: true,
    boundMs: 300_000,
  },
  {
    name: "chaos-limits",
    source: "test/chaos/limits.ts",
    command: ["node", "build/test/chaos/limits.js", "--short"],
    needs: [POSTGRES, NATS_SERVER, NGINX],
    beside: true,
    boundMs: 300_000,
  },
  {
    name: "memory",
    source: "test/chaos/memory.ts",
    command: ["node", "--max-semi-space-size=8", "build/test/chaos/memory.js", "--short"],
    boundMs: 180_000,
  },
  {
    name: "chaos-takeover",
    source: "test/chaos/takeover.ts",
    command: ["node", "build/test/chaos/takeover.js", "--short"],
    within: OWN_NETWORK,
    needs: [POSTGRES, NATS_SERVER, NGINX, DOCKER, CONTAINERS],
    beside: true,
    boundMs: 300_000,
  },
];

const REDIS = { debian: "redis-server", probe: ["sh", "-c", 'PATH="$PATH:/usr/sbin" redis-server --version'] };

/** Benchmarks, and what they and their yardsticks need. */
export const BENCHES = {
  bench: { command: ["node", "build/test/bench/main.js"], within: [], needs: [REDIS] },
  "bench:docker": {
    command: ["node", "build/test/bench/docker.js"],
    within: OWN_NETWORK,
    needs: [REDIS, POSTGRES, NATS_SERVER, DOCKER, CONTAINERS],
  },
};

export function listSuites() {
  return SUITES.filter(({ source }) => existsSync(join(ROOT, source))).map((suite) => ({
    env: {},
    within: [],
    needs: [],
    beside: false,
    ...suite,
  }));
}
