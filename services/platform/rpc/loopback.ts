/** Where a server without TLS may listen. */
import { SettingsError } from "../settings_error.js";

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

/** Without TLS the API key travels as it is: only this machine may hear it, unless that was spelled out. */
export function refuseUnprotected(host: string, insecure: boolean, howToInsist = "say --insecure"): void {
  if (isLoopback(host) || insecure) return;
  throw new SettingsError([
    `${host} is not a loopback address, and this server speaks without TLS: listen on 127.0.0.1 behind a proxy with TLS, ` +
      `or ${howToInsist} where the network is trusted`,
  ]);
}
