/** The registry service, put together. */
import type { TeardownServiceClient } from "../../gen/multinode/invocation/v1/teardown_service.pb.js";
import { ApiKeyRole } from "../../gen/multinode/registry/v1/api_key_role.pb.js";
import type { ApiKeyServiceImplementation } from "../../gen/multinode/registry/v1/api_key_service.pb.js";
import type { CatalogServiceImplementation } from "../../gen/multinode/registry/v1/catalog_service.pb.js";
import type { RegistryServiceImplementation } from "../../gen/multinode/registry/v1/registry_service.pb.js";
import type { Bus } from "../platform/bus/bus.js";
import type { Clock } from "../platform/clock.js";
import type { IdSource } from "../platform/ids.js";
import type { Logger } from "../platform/log.js";
import { PageOffsets } from "../platform/page_offset.js";
import type { Authority, Caller } from "../platform/rpc/principal.js";
import type { Db } from "../platform/store/db.js";
import { ApiKeyCheck } from "./api_key_check.js";
import { newApiKey } from "./api_key_secret.js";
import type { BundleStore } from "./bundles.js";
import type { RegistryContext } from "./context.js";
import { EnvironmentSeal } from "./environment_seal.js";
import { createApiKey } from "./rpc/create_api_key.js";
import { createProject } from "./rpc/create_project.js";
import { createVersion } from "./rpc/create_version.js";
import { deleteProject } from "./rpc/delete_project.js";
import { downloadBundle } from "./rpc/download_bundle.js";
import { findUsedBundles } from "./rpc/find_used_bundles.js";
import { getCode } from "./rpc/get_code.js";
import { getFunction } from "./rpc/get_function.js";
import { getProject } from "./rpc/get_project.js";
import { getVersion } from "./rpc/get_version.js";
import { listApiKeys } from "./rpc/list_api_keys.js";
import { listProjects } from "./rpc/list_projects.js";
import { listStandingFunctions } from "./rpc/list_standing_functions.js";
import { listVersions } from "./rpc/list_versions.js";
import { resolveFunctions } from "./rpc/resolve_functions.js";
import { resolveProject } from "./rpc/resolve_project.js";
import { revokeApiKey } from "./rpc/revoke_api_key.js";
import { uploadBundle } from "./rpc/upload_bundle.js";
import { verifyApiKey } from "./rpc/verify_api_key.js";
import { createRegistryStore } from "./sql/sql_store.js";
import { Teardown } from "./teardown.js";
import { VersionFunctions } from "./version_functions.js";

export interface RegistrySettings {
  /** With the tables of `registryMigrations`. */
  readonly db: Db;
  readonly bundles: BundleStore;
  readonly bus: Bus;
  readonly clock: Clock;
  readonly ids: IdSource;
  readonly log: Logger;
  readonly teardownClient: Pick<TeardownServiceClient, "cancelProject" | "purgeProject">;
  /** Signs the offsets of listings, and seals values of environments. The same in every process of the registry, for ever. */
  readonly secret: Uint8Array;
  /** How long other services may remember what was resolved, in milliseconds. Default 0: not at all. */
  readonly resolveCacheMs?: number;
}

export interface RegistryService {
  readonly registry: RegistryServiceImplementation<Caller>;
  readonly catalog: CatalogServiceImplementation;
  readonly apiKeys: ApiKeyServiceImplementation;
  /** Knows API keys. */
  readonly authority: Authority;
  /** Makes an API key where there has never been one, after giving it to `keep`. Answers whether it made one. */
  ensureFirstKey(keep: (token: string) => void | Promise<void>): Promise<boolean>;
  /** Begins to finish deletions. */
  start(): void;
  /** Ends what `start` began. The database and the bus stay open. */
  stop(): Promise<void>;
}

export function createRegistry(settings: RegistrySettings): RegistryService {
  const { db, bundles, bus, clock, ids, log, teardownClient, secret, resolveCacheMs = 0 } = settings;
  const store = createRegistryStore(db);
  const apiKeyCheck = new ApiKeyCheck(store, clock);
  const teardown = new Teardown({ store, bundles, client: teardownClient, bus, clock, log });
  const context: RegistryContext = {
    store,
    bundles,
    bus,
    clock,
    ids,
    offsets: new PageOffsets(secret),
    versionFunctions: new VersionFunctions(store),
    apiKeyCheck,
    seal: new EnvironmentSeal(secret),
    resolveCacheMs,
    wakeTeardown: () => teardown.wake(),
  };
  return {
    registry: {
      createProject: createProject(context),
      getProject: getProject(context),
      listProjects: listProjects(context),
      deleteProject: deleteProject(context),
      uploadBundle: uploadBundle(context),
      createVersion: createVersion(context),
      getVersion: getVersion(context),
      listVersions: listVersions(context),
      getFunction: getFunction(context),
    },
    catalog: {
      resolveFunctions: resolveFunctions(context),
      resolveProject: resolveProject(context),
      listStandingFunctions: listStandingFunctions(context),
      getCode: getCode(context),
      downloadBundle: downloadBundle(context),
      findUsedBundles: findUsedBundles(context),
      verifyApiKey: verifyApiKey(context),
    },
    apiKeys: {
      createApiKey: createApiKey(context),
      listApiKeys: listApiKeys(context),
      revokeApiKey: revokeApiKey(context),
    },
    authority: async (token) => {
      const key = await apiKeyCheck.verify(token, false);
      if (key === undefined) return undefined;
      const { keyId, role, projectName } = key;
      return { kind: "key", keyId, role, projectName };
    },
    ensureFirstKey: async (keep) => {
      if ((await store.listApiKeys(undefined, 1)).length > 0) return false;
      const { key, token } = newApiKey({
        keyId: ids.next("key"),
        displayName: "first key",
        role: ApiKeyRole.ADMIN,
        projectName: "",
        createTimeMs: clock.now(),
        expireTimeMs: undefined,
      });
      // Kept first: a crash in between makes another key at the next start, and never one that nobody has.
      await keep(token);
      return await store.createFirstApiKey(key);
    },
    start: () => teardown.start(),
    stop: () => teardown.stop(),
  };
}
