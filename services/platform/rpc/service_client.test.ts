import { expect, it, vi } from "vitest";
import { CatalogServiceDefinition } from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import { createLogger } from "../log.js";
import { ACCESS } from "./access.js";
import { createRpcServer } from "./server.js";
import { connectToService } from "./service_client.js";

it("a service that does not answer in time is Unavailable, as one that is not there", async () => {
  const server = createRpcServer({
    log: createLogger("test", "silent"),
    authorities: [async () => ({ kind: "service" })],
    access: ACCESS,
    stopping: new AbortController().signal,
  });
  const asked = Promise.withResolvers<void>();
  const hang = async () => {
    asked.resolve();
    return await Promise.withResolvers<never>().promise;
  };
  server.add(CatalogServiceDefinition, {
    resolveFunctions: hang,
    resolveProject: hang,
    listStandingFunctions: hang,
    findUsedBundles: hang,
    getCode: hang,
    verifyApiKey: hang,
    downloadBundle: async function* () {
      yield { chunk: new Uint8Array(await hang()) };
    },
  });
  const connection = connectToService(`127.0.0.1:${await server.listen("127.0.0.1:0")}`, "token");
  const deadline = new AbortController();
  vi.spyOn(AbortSignal, "timeout").mockReturnValueOnce(deadline.signal);
  try {
    const refusal = expect(
      connection.client(CatalogServiceDefinition).getCode({ versionId: "" }),
    ).rejects.toMatchObject({ reason: "Unavailable" });
    await asked.promise;
    deadline.abort();
    await refusal;
  } finally {
    vi.restoreAllMocks();
    connection.close();
    server.forceShutdown();
  }
});
