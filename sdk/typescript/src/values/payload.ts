/** Encoded values. In a file of their own, since the public types reach them: those name no types of Node. */

/** One encoded value. */
export interface EncodedPayload {
  /** "application/json", "application/cbor", or empty, which means JSON. */
  readonly contentType: string;
  readonly data: Uint8Array;
}

/** One encoded value, where JSON may be text. */
export interface TextPayload {
  readonly contentType: string;
  readonly data: Uint8Array | string;
}

/** Encoded arguments. An absent part means that there are none. */
export interface EncodedArguments<Payload extends TextPayload = EncodedPayload> {
  readonly positional: Payload | undefined;
  readonly named: Payload | undefined;
}
