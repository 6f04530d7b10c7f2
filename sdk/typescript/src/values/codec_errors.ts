/** What can be wrong with a value or with its bytes. */

/** A value that cannot be sent: a function, a symbol, a cycle and the like. `path` says where, such as "$.a[3].b". */
export class ValueIsUnsupportedError extends TypeError {
  override readonly name = "ValueIsUnsupportedError";
  readonly path: string;
  constructor(path: string, problem: string) {
    super(`the value at ${path} cannot be sent: ${problem}`);
    this.path = path;
  }
}

/** Bytes that are not what their content type says. */
export class PayloadIsInvalidError extends Error {
  override readonly name = "PayloadIsInvalidError";
}

/** A value whose encoded size is above the limit. Sizes are bytes. */
export class PayloadSizeLimitExceeded extends RangeError {
  override readonly name = "PayloadSizeLimitExceeded";
  readonly sizeBytes: number;
  readonly limitBytes: number;
  constructor(what: string, sizeBytes: number, limitBytes: number) {
    super(`${what} is ${sizeBytes} bytes when encoded; the limit is ${limitBytes} bytes`);
    this.sizeBytes = sizeBytes;
    this.limitBytes = limitBytes;
  }
}
