/** vitest's global setup: the services as three processes on a real PostgreSQL and a real NATS, for all files. */
import type { TestProject } from "vitest/node";
import { NatsServer } from "./nats.js";
import { startPostgres } from "./postgres.js";
import { provideTarget } from "./provide_target.js";
import { METRICS, startServicesTarget } from "./services_target.js";

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const [postgres, nats] = await Promise.all([startPostgres(), NatsServer.start()]);
  const env = (name: "registry" | "invocation" | "scheduler") => ({
    ...METRICS,
    MULTINODE_NATS_URL: nats.url(name),
    ...(name === "scheduler" ? {} : { MULTINODE_DATABASE_URL: postgres.url }),
  });
  const stopStores = async () => {
    await Promise.all([postgres.remove(), nats.close()]);
  };
  try {
    const stop = provideTarget(project, await startServicesTarget(undefined, { env }));
    return async () => {
      await stop();
      await stopStores();
    };
  } catch (error) {
    await stopStores();
    throw error;
  }
}
