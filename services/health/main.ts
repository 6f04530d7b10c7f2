/**
 * Asks the service that has the same settings, on this machine, whether calls are welcome: for the health checks of
 * containers. Exit status 0: they are; 1: they are not, or there is no answer within 3 s.
 */
import { ChannelCredentials, createChannel, createClient } from "nice-grpc";
import { HealthDefinition } from "nice-grpc-server-health";
import { COMMON_SETTINGS, readSettings } from "../platform/config.js";
import { createLogger } from "../platform/log.js";
import { openCertificates } from "../platform/rpc/tls_settings.js";

const DEADLINE_MS = 3_000;
const SERVING = 1;
/** Where a server listens that listens everywhere. */
const EVERYWHERE: Readonly<Record<string, string>> = { "0.0.0.0": "127.0.0.1", "::": "::1" };

const { MULTINODE_LISTEN, MULTINODE_TLS_CERT, MULTINODE_TLS_KEY, MULTINODE_TLS_CA } = COMMON_SETTINGS;
const settings = readSettings(
  { MULTINODE_LISTEN, MULTINODE_TLS_CERT, MULTINODE_TLS_KEY, MULTINODE_TLS_CA },
  process.env,
);
const certificates = openCertificates(settings, createLogger("health", "silent"));
const { host, port } = settings.MULTINODE_LISTEN;
const asked = EVERYWHERE[host] ?? host;
const channel = createChannel(
  `${asked.includes(":") ? `[${asked}]` : asked}:${port}`,
  certificates?.client() ?? ChannelCredentials.createInsecure(),
  // The certificate is for the name by which others reach the service.
  certificates === undefined ? {} : { "grpc.ssl_target_name_override": certificates.ownName },
);
try {
  const health = createClient(HealthDefinition, channel);
  const { status } = await health.check({ service: "" }, { signal: AbortSignal.timeout(DEADLINE_MS) });
  if (status !== SERVING) throw new Error("the service says that calls are not welcome");
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
} finally {
  channel.close();
}
