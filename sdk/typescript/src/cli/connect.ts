import type { MultinodeClient } from "../client/client.js";
import { type Credentials, resolveCredentials } from "../client/credentials.js";
import type { Io } from "./io.js";

/** Connects with the credentials of the environment or of the login file. Throws CredentialsMissingError. */
export async function connect(io: Io): Promise<MultinodeClient> {
  return connectWith(resolveCredentials({}, io.env));
}

/** A person waits at the terminal: a server that cannot be reached is told soon. */
const RETRY_FOR_MS = 3_000;

/** gRPC is loaded only by commands that call a server, so that the others answer at once. */
export async function connectWith(credentials: Credentials): Promise<MultinodeClient> {
  const { MultinodeClient } = await import("../client/client.js");
  return new MultinodeClient({ ...credentials, retryForMs: RETRY_FOR_MS });
}
