/** The largest payload that this process sends: above it nothing is sent, and the error names the size and the limit. */
import { ParameterValidationError } from "../errors.js";
import { LIMITS } from "../protocol/limits.js";

const VARIABLE = "MULTINODE_MAX_PAYLOAD_BYTES";

/**
 * In bytes: what is given, else `MULTINODE_MAX_PAYLOAD_BYTES`, else 250,000. The server has a limit of its own, of the same name
 * and the same default, and refuses what is above that. Throws a ParameterValidationError for a number out of bounds.
 */
export function payloadLimit(given: number | undefined, env: NodeJS.ProcessEnv = process.env): number {
  const text = env[VARIABLE];
  if (given !== undefined) return checked("maxPayloadBytes", given);
  return text === undefined || text === "" ? LIMITS.payloadBytes : checked(VARIABLE, Number(text), text);
}

function checked(field: string, value: number, written = String(value)): number {
  const { payloadBytesMin, payloadBytesMax } = LIMITS;
  if (Number.isInteger(value) && value >= payloadBytesMin && value <= payloadBytesMax) return value;
  const description = `"${written}" must be a whole number of bytes from ${payloadBytesMin} to ${payloadBytesMax}`;
  throw new ParameterValidationError(`${field}: ${description}`, { violations: [{ field, description }] });
}
