/** Where NATS is and who connects, from a setting. */
import { z } from "zod";
import { isLoopback } from "../rpc/loopback.js";
import { SettingsError } from "../settings_error.js";

export interface NatsAddress {
  /** Without the brackets of an IPv6 address. */
  readonly host: string;
  readonly port: number;
  /** Whether the connection must be encrypted. */
  readonly tls: boolean;
  readonly user: string;
  /** Never to be logged. */
  readonly password: string;
}

const DEFAULT_PORT = 4222;
const MOST_SERVERS = 16;

/** "nats://user:password@host:port", or "tls://..." where the connection must be encrypted; several apart by commas. */
export const natsUrlSetting = z.string().transform((text, context): NatsAddress[] => {
  const parts = text.split(",").map((part) => part.trim());
  if (parts.length > MOST_SERVERS) {
    context.addIssue({ code: "custom", message: `${parts.length} servers are more than the bound of ${MOST_SERVERS}` });
    return z.NEVER;
  }
  return parts.flatMap((part, index) => {
    const address = addressOf(part);
    if (typeof address !== "string") return [address];
    // The value holds a password, so it is told by its place and not shown.
    context.addIssue({ code: "custom", message: `server ${index + 1} of ${parts.length} ${address}` });
    return [];
  });
});

/** What is wrong, where it is no address. */
function addressOf(text: string): NatsAddress | string {
  if (!URL.canParse(text)) return 'is no URL such as "nats://user:password@host:4222"';
  const { protocol, username, password, hostname, port, pathname, search, hash } = new URL(text);
  if (protocol !== "nats:" && protocol !== "tls:") return 'must begin with "nats://" or "tls://"';
  if (hostname === "") return "has no host";
  if (username === "" || password === "") return "needs a user and a password";
  if ((pathname !== "" && pathname !== "/") || search !== "" || hash !== "") return "has something after its port";
  try {
    return {
      host: hostname.replace(/^\[|\]$/g, ""),
      port: port === "" ? DEFAULT_PORT : Number(port),
      tls: protocol === "tls:",
      user: decodeURIComponent(username),
      password: decodeURIComponent(password),
    };
  } catch {
    return "has a % in its user or password that is not the beginning of an escape such as %25";
  }
}

/** "host:port", as logs show it. */
export function serverOf({ host, port }: NatsAddress): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Passwords go in the clear without TLS: only within this machine, unless that was spelled out. */
export function refuseUnprotectedNats(addresses: readonly NatsAddress[], insecure: boolean): void {
  const open = addresses.find(({ host, tls }) => !tls && !isLoopback(host));
  if (open === undefined || insecure) return;
  throw new SettingsError([
    `MULTINODE_NATS_URL: ${serverOf(open)} is not on this machine, and nats:// sends the password as it is: use tls://, ` +
      "or say MULTINODE_INSECURE=true where the network is trusted",
  ]);
}
