/** NATS with TLS, by the configuration that comes with the project. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { NatsBus } from "../../services/platform/bus/nats.js";
import { natsUrlSetting } from "../../services/platform/bus/nats_address.js";
import { createLogger } from "../../services/platform/log.js";
import type { CertificateFiles } from "../../services/platform/rpc/certificates.js";
import { makeCertificates } from "../harness/certificates.js";
import { NatsServer } from "../harness/nats.js";

const WAIT = { timeout: 10_000, interval: 20 };
let folder: string;
let ours: CertificateFiles;
let foreign: CertificateFiles;
let server: NatsServer;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-nats-tls-"));
  ours = (await makeCertificates(join(folder, "ours")))("nats");
  foreign = (await makeCertificates(join(folder, "foreign")))("nats");
  server = await NatsServer.start({
    config: "nats-server-tls.conf",
    host: "0.0.0.0",
    env: { MULTINODE_NATS_TLS_CERT: ours.cert, MULTINODE_NATS_TLS_KEY: ours.key },
  });
});
afterAll(async () => {
  await server.close();
  await rm(folder, { recursive: true, force: true });
});

function open(url: string, caFile: string | undefined): { bus: NatsBus; said: () => string } {
  const lines: string[] = [];
  const tell = (fields: object, message: string) => lines.push(`${message} ${JSON.stringify(fields)}`);
  const log = Object.assign(createLogger("test", "silent"), { info: tell, warn: tell });
  return {
    bus: new NatsBus({ addresses: natsUrlSetting.parse(url), caFile, service: "test", log }),
    said: () => lines.join("\n"),
  };
}

async function says(url: string, caFile: string | undefined, expected: RegExp): Promise<void> {
  const { bus, said } = open(url, caFile);
  await vi.waitFor(() => expect(said()).toMatch(expected), WAIT);
  await bus.close();
}

it("carries events between services that trust its authority", async () => {
  const [registry, scheduler] = [
    open(server.url("registry", "tls"), ours.ca),
    open(server.url("scheduler", "tls"), ours.ca),
  ];
  const heard = vi.fn();
  scheduler.bus.subscribe("project", heard);
  await vi.waitFor(() => {
    registry.bus.publish({ $case: "project", value: { projectName: "p" } });
    expect(heard).toHaveBeenCalled();
  }, WAIT);
  await Promise.all([registry.bus.close(), scheduler.bus.close()]);
});

it("is not trusted without its authority, with another one, and under a name that its certificate does not have", async () => {
  await says(server.url("registry", "tls"), undefined, /NATS cannot be reached.*(unable to verify|self-signed)/);
  await says(server.url("registry", "tls"), foreign.ca, /NATS cannot be reached.*(unable to verify|self-signed)/);
  // The certificate is for localhost and 127.0.0.1.
  const elsewhere = server.url("registry", "tls").replace("127.0.0.1", "127.0.0.2");
  await says(elsewhere, ours.ca, /NATS cannot be reached.*IP: 127\.0\.0\.2 is not in the cert's list/);
});

it("gets no password from a service that wants TLS, where it speaks plain text", async () => {
  const plain = await NatsServer.start();
  await says(plain.url("registry", "tls"), ours.ca, /NATS cannot be reached.*does not support 'tls'/);
  await plain.close();
});
