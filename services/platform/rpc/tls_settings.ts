/** TLS between services, from settings. */
import type { Logger } from "../log.js";
import { SettingsError } from "../settings_error.js";
import { Certificates } from "./certificates.js";
import { isLoopback } from "./loopback.js";

export interface TlsSettings {
  readonly MULTINODE_TLS_CERT?: string | undefined;
  readonly MULTINODE_TLS_KEY?: string | undefined;
  readonly MULTINODE_TLS_CA?: string | undefined;
}

/** Undefined where the services speak plain text. @throws SettingsError that says which of the settings is missing or wrong */
export function openCertificates(settings: TlsSettings, log: Logger): Certificates | undefined {
  const { MULTINODE_TLS_CERT: cert, MULTINODE_TLS_KEY: key, MULTINODE_TLS_CA: ca } = settings;
  if (cert === undefined && key === undefined && ca === undefined) return undefined;
  if (cert !== undefined && key !== undefined && ca !== undefined) return open({ cert, key, ca }, log);
  const missing = Object.entries({ MULTINODE_TLS_CERT: cert, MULTINODE_TLS_KEY: key, MULTINODE_TLS_CA: ca })
    .filter(([, value]) => value === undefined)
    .map(([name]) => name);
  throw new SettingsError([`the settings of TLS belong together: ${missing.join(" and ")} is missing`]);
}

function open(files: ConstructorParameters<typeof Certificates>[0], log: Logger): Certificates {
  try {
    return new Certificates(files, log);
  } catch (error) {
    throw new SettingsError([error instanceof Error ? error.message : String(error)], { cause: error });
  }
}

/** Without TLS the service token travels as it is: only within this machine, unless that was spelled out. */
export function refuseUnprotectedPeer(address: string, insecure: boolean): void {
  const host = address.slice(0, address.lastIndexOf(":")).replace(/^\[|\]$/g, "");
  if (isLoopback(host) || insecure) return;
  throw new SettingsError([
    `${address} is not on this machine, and without TLS the service token goes there as it is: set MULTINODE_TLS_CERT, ` +
      "MULTINODE_TLS_KEY and MULTINODE_TLS_CA, or say MULTINODE_INSECURE=true where the network is trusted",
  ]);
}
