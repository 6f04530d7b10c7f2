/** A client of one's own, for an application that wants to close its connection itself. */

import { OptionCheck } from "../definition/option_check.js";
import { MultinodeClient } from "./client.js";
import type { PartialCredentials } from "./credentials.js";
import type { InvocationClient } from "./invocation_client.js";

export interface OpenClientOptions extends PartialCredentials {
  /**
   * Largest encoded input that is sent, in bytes, 1,000 to 4,000,000. Default: `MULTINODE_MAX_PAYLOAD_BYTES`, then 250,000. The
   * server refuses what is above its own limit.
   */
  readonly maxPayloadBytes?: number | undefined;
  /** How long a call that is safe to repeat is tried again while the server cannot be reached. Default 20,000 ms. */
  readonly retryForMs?: number | undefined;
}

const OPTION_NAMES = [
  "apiUrl",
  "apiKey",
  "maxPayloadBytes",
  "retryForMs",
] as const satisfies readonly (keyof OpenClientOptions)[];

/**
 * Opens a client, to be passed to `getDeployedFunction({ client })` and closed with `await using` or `close()`. Without it
 * all functions of a process share one. Throws a CredentialsMissingError, or a ParameterValidationError for a bad URL or option.
 */
export function openClient(options: OpenClientOptions = {}): InvocationClient {
  const check = new OptionCheck();
  if (check.names("", options, OPTION_NAMES)) check.number("retryForMs", options.retryForMs, { min: 0 });
  check.throwIfAny("openClient");
  return new MultinodeClient(options);
}
