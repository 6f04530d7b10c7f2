/** A registry for tests: a database of its own, and bundles in a temporary folder, behind a real gRPC server on a free port. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ApiKeyServiceDefinition } from "../../gen/multinode/registry/v1/api_key_service.pb.js";
import { CatalogServiceDefinition } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import type { Code, FunctionSpec } from "../../gen/multinode/registry/v1/function.pb.js";
import { RegistryServiceDefinition } from "../../gen/multinode/registry/v1/registry_service.pb.js";
import { type Archive, createArchive } from "../../sdk/typescript/src/bundle/archive.js";
import { openTestDatabase } from "../../test/harness/test_database.js";
import { MemoryBus } from "../platform/bus/memory.js";
import { IdSource } from "../platform/ids.js";
import { createLogger } from "../platform/log.js";
import { ACCESS } from "../platform/rpc/access.js";
import { createRpcServer } from "../platform/rpc/server.js";
import { connectToService } from "../platform/rpc/service_client.js";
import { openBundlesOnDisk } from "./bundles_on_disk.js";
import { createRegistry, type RegistrySettings } from "./service.js";
import { registryMigrations } from "./sql/schema.js";

const SERVICE_TOKEN = "token-of-the-services";

/** A clock that stands still until it is moved. */
export class TestClock {
  #nowMs = 1_800_000_000_000;

  now(): number {
    return this.#nowMs;
  }

  advance(ms: number): void {
    this.#nowMs += ms;
  }
}

/** An invocation service without invocations, or with one that is never terminated. */
export class TestTeardownClient {
  isTerminated = true;
  readonly calls: string[] = [];

  async cancelProject({ projectId = "" }: { projectId?: string }) {
    this.calls.push(`cancel ${projectId}`);
    return { terminated: this.isTerminated };
  }

  async purgeProject({ projectId = "" }: { projectId?: string }) {
    this.calls.push(`purge ${projectId}`);
    return { done: this.calls.filter((call) => call === `purge ${projectId}`).length > 2 };
  }
}

export async function openTestParts() {
  const folder = await mkdtemp(join(tmpdir(), "multinode-registry-"));
  const clock = new TestClock();
  const { db, remove } = await openTestDatabase(registryMigrations);
  const bundleFolder = join(folder, "bundles");
  const bundles = await openBundlesOnDisk(bundleFolder, clock);
  const teardownClient = new TestTeardownClient();
  const settings: RegistrySettings = {
    db,
    bundles,
    bus: new MemoryBus(),
    clock,
    ids: new IdSource(clock),
    log: createLogger("registry", "silent"),
    teardownClient,
    secret: new Uint8Array(32),
  };
  const close = async () => {
    await db.close();
    await remove();
    await rm(folder, { recursive: true, force: true });
  };
  return { ...settings, clock, teardownClient, bundleFolder, close };
}

const EXAMPLE = archiveOf("example");

export async function openTestRegistry(more: Partial<RegistrySettings> = {}) {
  const parts = await openTestParts();
  const service = createRegistry({ ...parts, ...more });
  const server = createRpcServer({
    log: parts.log,
    authorities: [
      async (token) => (token === SERVICE_TOKEN ? { kind: "service" } : undefined),
      (token) => service.authority(token),
    ],
    stopping: new AbortController().signal,
    access: ACCESS,
  });
  server.add(RegistryServiceDefinition, service.registry);
  server.add(ApiKeyServiceDefinition, service.apiKeys);
  server.add(CatalogServiceDefinition, service.catalog);
  const address = `127.0.0.1:${await server.listen("127.0.0.1:0")}`;
  let firstKey = "";
  await service.ensureFirstKey((token) => {
    firstKey = token;
  });
  await parts.bundles.put(
    EXAMPLE.digest,
    (async function* () {
      yield EXAMPLE.bytes;
    })(),
  );
  const asKey = (key: string) => connectToService(address, key);
  const user = asKey(firstKey);
  const inner = connectToService(address, SERVICE_TOKEN);
  const close = async () => {
    await service.stop();
    user.close();
    inner.close();
    server.forceShutdown();
    await parts.close();
  };
  return {
    ...parts,
    service,
    firstKey,
    asKey,
    registry: user.client(RegistryServiceDefinition),
    apiKeys: user.client(ApiKeyServiceDefinition),
    catalog: inner.client(CatalogServiceDefinition),
    close,
  };
}

export type TestRegistry = Awaited<ReturnType<typeof openTestRegistry>>;

/** Code that every test registry has. */
export function bundleCode(environment: Record<string, string> = {}): Code {
  return { source: { $case: "bundle", value: { digest: EXAMPLE.digest } }, environment };
}

export function functionNamed(functionName: string, more: Partial<FunctionSpec> = {}): FunctionSpec {
  return { functionName, options: undefined, inputSchema: "", outputSchema: "", ...more };
}

export function archiveOf(text: string): Archive {
  return createArchive(new Map([["main.mjs", { data: Buffer.from(text) }]]));
}

/** Waits until `condition` answers true, for 5 s at most. */
export async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadlineMs = Date.now() + 5_000;
  while (!(await condition())) {
    if (Date.now() > deadlineMs) throw new Error("the expected state did not come within 5 s");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
