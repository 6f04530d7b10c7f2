/** Servers and clients with real certificates: who gets in, and what the others are told. */
import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ChannelCredentials } from "nice-grpc";
import { HealthDefinition } from "nice-grpc-server-health";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { createLogger } from "../../services/platform/log.js";
import { type CertificateFiles, Certificates } from "../../services/platform/rpc/certificates.js";
import { listen } from "../../services/platform/rpc/listening.js";
import { createRpcServer } from "../../services/platform/rpc/server.js";
import { connectToService } from "../../services/platform/rpc/service_client.js";
import { type CertificateName, makeCertificates } from "../harness/certificates.js";

const WAIT = { timeout: 10_000, interval: 20 };
const log = createLogger("test", "silent");
const undo: (() => Promise<void> | void)[] = [];
let folder: string;
let ours: (name: CertificateName) => CertificateFiles;
let foreign: (name: CertificateName) => CertificateFiles;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-tls-"));
  [ours, foreign] = await Promise.all([
    makeCertificates(join(folder, "ours")),
    makeCertificates(join(folder, "foreign")),
  ]);
});
afterAll(() => rm(folder, { recursive: true, force: true }));
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

function open(files: CertificateFiles): Certificates {
  const certificates = new Certificates(files, log);
  undo.push(() => certificates.close());
  return certificates;
}

/** Answers its port. Without certificates it speaks plain text. */
async function serve(certificates?: Certificates, anyClient = false): Promise<number> {
  const server = createRpcServer({ log, authorities: [], access: {}, stopping: new AbortController().signal });
  const listening = await listen(server, { host: "0.0.0.0", port: 0 }, [], certificates?.server({ anyClient }));
  listening.serving(true);
  undo.push(() => listening.stop(0));
  return listening.port;
}

async function call(port: number, credentials: ChannelCredentials | undefined, host = "127.0.0.1"): Promise<unknown> {
  const connection = connectToService(`${host}:${port}`, "token", credentials);
  try {
    return await connection.client(HealthDefinition).check({ service: "" });
  } finally {
    connection.close();
  }
}

const onlyAuthority = async (files: CertificateFiles) => ChannelCredentials.createSsl(await readFile(files.ca));

/** What the caller is told, and what is behind it. */
async function refusal(port: number, credentials: ChannelCredentials | undefined, host?: string): Promise<string> {
  try {
    await call(port, credentials, host);
  } catch (error) {
    expect(error).toMatchObject({ reason: "Unavailable" });
    return error instanceof Error ? `${error.message} ${String(error.cause)}` : "";
  }
  throw new Error("the call was answered");
}

describe("a server that asks for certificates", () => {
  it("answers a service with a certificate of the same authority", async () => {
    const port = await serve(open(ours("registry")));
    await expect(call(port, open(ours("invocation")).client())).resolves.toMatchObject({ status: 1 });
    await expect(call(port, open(ours("gateway")).client(), "localhost")).resolves.toMatchObject({ status: 1 });
  });

  it("refuses a client without a certificate, with one of another authority, and one that speaks plain text", async () => {
    const port = await serve(open(ours("registry")));
    expect(await refusal(port, await onlyAuthority(ours("registry")))).toMatch(/certificate required/);
    const stranger = ChannelCredentials.createSsl(
      await readFile(ours("registry").ca),
      await readFile(foreign("invocation").key),
      await readFile(foreign("invocation").cert),
    );
    // Node breaks off such a connection without a word, so a service checks its own certificate when it starts.
    expect(await refusal(port, stranger)).toMatch(/Failed to connect|ECONNRESET|closed/);
    expect(await refusal(port, undefined)).toMatch(/does not answer/);
  });

  it("answers anybody who trusts it, where it asks for no certificate", async () => {
    const port = await serve(open(ours("scheduler")), true);
    await expect(call(port, await onlyAuthority(ours("registry")))).resolves.toMatchObject({ status: 1 });
    expect(await refusal(port, await onlyAuthority(foreign("registry")))).toMatch(/unable to verify|self-signed/);
    // As a worker comes, which knows the authority only.
    const session = connect(`https://localhost:${port}`, { ca: await readFile(ours("scheduler").ca) });
    undo.push(() => session.destroy());
    await vi.waitFor(() => expect(session.connecting).toBe(false), WAIT);
    expect(session.encrypted).toBe(true);
  });
});

describe("a client with certificates", () => {
  it("refuses a server of another authority", async () => {
    const port = await serve(open(foreign("registry")));
    expect(await refusal(port, open(ours("invocation")).client())).toMatch(/unable to verify|self-signed/);
  });

  it("refuses a server whose certificate is for another host", async () => {
    const port = await serve(open(ours("registry")));
    // Also an address of this machine, and not one that the certificate names.
    expect(await refusal(port, open(ours("invocation")).client(), "127.0.0.2")).toMatch(
      /IP: 127\.0\.0\.2 is not in the cert's list/,
    );
  });

  it("refuses a server that speaks plain text", async () => {
    expect(await refusal(await serve(), open(ours("invocation")).client())).toMatch(/does not answer/);
  });
});

describe("files of certificates", () => {
  const copied = async (name: string): Promise<CertificateFiles> => {
    const into = join(folder, name);
    await mkdir(into);
    const files = { cert: join(into, "cert"), key: join(into, "key"), ca: join(into, "ca") };
    for (const part of ["cert", "key", "ca"] as const) await copyFile(ours("registry")[part], files[part]);
    return files;
  };

  it.each([
    ["cert", "holds no certificate in PEM"],
    ["key", "holds no private key in PEM"],
    ["ca", "holds no certificate in PEM"],
  ] as const)("that hold something else are refused by name: %s", async (part, complaint) => {
    const files = await copied(`bad-${part}`);
    await writeFile(files[part], "nonsense");
    expect(() => new Certificates(files, log)).toThrow(`${files[part]} ${complaint}`);
  });

  it("that do not belong together are refused", () => {
    const mixed = { ...ours("registry"), key: ours("invocation").key };
    expect(() => new Certificates(mixed, log)).toThrow(`${mixed.key} is not the private key of ${mixed.cert}`);
    const stranger = { ...foreign("registry"), ca: ours("registry").ca };
    expect(() => new Certificates(stranger, log)).toThrow(
      `${stranger.cert} was not issued by the authority of ${stranger.ca}`,
    );
  });

  it("are used when they are renewed, without a restart; broken ones are reported, and the old ones kept", async () => {
    const [serverFiles, clientFiles] = [await copied("server"), await copied("client")];
    const [server, client] = [open(serverFiles), open(clientFiles)];
    const error = vi.fn();
    const port = await serve(server);
    await expect(call(port, client.client())).resolves.toMatchObject({ status: 1 });

    for (const part of ["cert", "key", "ca"] as const) await copyFile(foreign("registry")[part], serverFiles[part]);
    server.readAgain();
    expect(await refusal(port, client.client())).toMatch(/unable to verify|self-signed/);
    for (const part of ["cert", "key", "ca"] as const) await copyFile(foreign("registry")[part], clientFiles[part]);
    client.readAgain();
    await expect(call(port, client.client())).resolves.toMatchObject({ status: 1 });

    const loud = new Certificates(clientFiles, { ...log, error } as unknown as typeof log);
    undo.push(() => loud.close());
    await writeFile(clientFiles.key, "half a k");
    loud.readAgain();
    expect(error).toHaveBeenCalledWith(
      { reason: `${clientFiles.key} holds no private key in PEM` },
      "new certificates are not used",
    );
    await expect(call(port, loud.client())).resolves.toMatchObject({ status: 1 });
  });
});

it("certificates that end soon are complained of, once a day", () => {
  const warn = vi.fn();
  const certificates = new Certificates(ours("registry"), { ...log, warn } as unknown as typeof log);
  undo.push(() => certificates.close());
  expect(warn).not.toHaveBeenCalled();
  const goodUntil = new X509Certificate(readFileSync(ours("registry").cert)).validTo;
  const clock = vi.spyOn(Date, "now").mockReturnValue(Date.parse(goodUntil) - 13 * 24 * 60 * 60 * 1_000);
  undo.push(() => clock.mockRestore());
  certificates.readAgain();
  certificates.readAgain();
  expect(warn).toHaveBeenCalledTimes(1);
});
