/** A client of one's own, for an application that wants to close its connection itself. */
import { MultinodeClient } from "./client.js";
import type { PartialCredentials } from "./credentials.js";
import type { InvocationClient } from "./invocation_client.js";

export interface OpenClientOptions extends PartialCredentials {
  /** How long a call that is safe to repeat is tried again while the server cannot be reached. Default 20,000 ms. */
  readonly retryForMs?: number | undefined;
}

/**
 * Opens a client, to be passed to `getDeployedFunction({ client })` and closed with `await using` or `close()`. Without it
 * all functions of a process share one. Throws a CredentialsMissingError, or a ParameterValidationError for a bad URL.
 */
export function openClient(options: OpenClientOptions = {}): InvocationClient {
  return new MultinodeClient(options);
}
