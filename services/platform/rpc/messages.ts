/**
 * Messages as they come from outside. What does not decode is refused by the server's middleware like any other bad
 * request; left to the library it would be an internal error.
 */
import { BinaryReader } from "@bufbuild/protobuf/wire";
import type { CompatServiceDefinition, TsProtoServiceDefinition } from "nice-grpc";
import { badRequest } from "../errors.js";

/** Stands for a message that did not decode. */
class MalformedMessage {
  readonly problem: string;

  constructor(problem: string) {
    this.problem = problem;
  }
}

/** Protobuf has texts be UTF-8; the library would put U+FFFD where one is not, so that two different keys became one. */
class StrictReader extends BinaryReader {
  override string(): string {
    return super.string(true);
  }
}

/** The same service, for a server that hands what it receives to `wellFormed`. */
export function readStrictly<Service extends CompatServiceDefinition>(definition: Service): Service {
  // Services of other packages are read by other copies of the library.
  if (!isOwn(definition)) return definition;
  const methods = Object.entries(definition.methods).map(([name, method]) => {
    return [name, { ...method, requestType: { ...method.requestType, decode: strictDecode(method.requestType) } }];
  });
  return { ...definition, methods: Object.fromEntries(methods) };
}

/** Answers the request, or each message of a stream of them. @throws Refusal ParameterValidationError. */
export function wellFormed<T>(request: T | AsyncIterable<T>, isStream: boolean): T | AsyncIterable<T> {
  return isStream ? wellFormedItems(request as AsyncIterable<T>) : wellFormedItem(request as T);
}

async function* wellFormedItems<T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
  for await (const message of messages) yield wellFormedItem(message);
}

/** The same messages, which end when `signal` aborts: also for a handler that waits for the next one and looks at no signal. */
export function untilAborted<T>(messages: AsyncIterable<T>, signal: AbortSignal): AsyncIterable<T> {
  return { [Symbol.asyncIterator]: () => endedBy(messages[Symbol.asyncIterator](), signal) };
}

function endedBy<T>(messages: AsyncIterator<T>, signal: AbortSignal): AsyncIterator<T> {
  const ended: IteratorResult<T> = { done: true, value: undefined };
  let endWaiting: (() => void) | undefined;
  signal.addEventListener("abort", () => endWaiting?.(), { once: true });
  return {
    next: () =>
      new Promise((resolve, reject) => {
        endWaiting = () => resolve(ended);
        if (signal.aborted) endWaiting();
        else messages.next().then(resolve, reject);
      }),
    return: async () => (await messages.return?.()) ?? ended,
  };
}

function wellFormedItem<T>(message: T): T {
  if (!(message instanceof MalformedMessage)) return message;
  throw badRequest([{ field: "request", description: `is not a well-formed message: ${message.problem}` }]);
}

function isOwn(definition: CompatServiceDefinition): definition is TsProtoServiceDefinition {
  return typeof definition["fullName"] === "string" && definition["fullName"].startsWith("multinode.");
}

function strictDecode(requestType: { decode(input: Uint8Array): unknown }) {
  // The generated `decode` takes a reader as well.
  const type = requestType as { decode(input: Uint8Array | BinaryReader): unknown };
  return (bytes: Uint8Array): unknown => {
    try {
      return type.decode(new StrictReader(bytes));
    } catch (error) {
      return new MalformedMessage(error instanceof Error ? error.message : String(error));
    }
  };
}
