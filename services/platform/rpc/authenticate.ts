/** Who calls, by the headers alone, and whether this caller may call the method. */
import { apiKeyIsInvalid } from "../errors.js";
import { type AccessTable, requireAccess } from "./access.js";
import type { Authority, Principal } from "./principal.js";

export interface Credentials {
  /** Asked in order; the first that knows the token says who calls. */
  readonly authorities: readonly Authority[];
  readonly access: AccessTable;
}

/** Anybody may ask whether the server lives, and what it offers. */
const OPEN_SERVICE = "grpc.health.v1.Health";
const OPEN_PREFIX = "grpc.reflection.";

/** @param values of the header "authorization". */
export async function authenticate(
  { authorities, access }: Credentials,
  path: string,
  values: readonly (string | Uint8Array)[],
): Promise<Principal> {
  if (isOpen(path)) return { kind: "service" };
  const token = bearerToken(values);
  for (const authority of authorities) {
    const principal = await authority(token);
    if (principal === undefined) continue;
    requireAccess(access, path, principal);
    return principal;
  }
  throw apiKeyIsInvalid();
}

/** Whether no key is needed. */
export function isOpen(path: string): boolean {
  const service = path.slice(1, path.indexOf("/", 1));
  return service === OPEN_SERVICE || service.startsWith(OPEN_PREFIX);
}

function bearerToken(values: readonly (string | Uint8Array)[]): string {
  const [value] = values;
  if (values.length !== 1 || typeof value !== "string") throw apiKeyIsInvalid();
  const match = /^Bearer ([\x21-\x7e]{1,512})$/i.exec(value);
  if (match?.[1] === undefined) throw apiKeyIsInvalid();
  return match[1];
}
