/** Certificates for tests, made by the script for development. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import type { CertificateFiles } from "../../services/platform/rpc/certificates.js";
import { repositoryFile } from "./repository.js";

export type CertificateName = "registry" | "invocation" | "scheduler" | "gateway" | "nats";

/** Makes them in the folder, anew, and answers where they are. They are for this machine, and for the hosts. */
export async function makeCertificates(
  folder: string,
  hosts: readonly string[] = [],
): Promise<(name: CertificateName) => CertificateFiles> {
  await promisify(execFile)(process.execPath, [repositoryFile("scripts/make_certs.mjs"), folder, ...hosts]);
  return (name) => ({
    cert: join(folder, `${name}.crt`),
    key: join(folder, `${name}.key`),
    ca: join(folder, "ca.crt"),
  });
}
