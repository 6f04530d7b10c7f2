import { StringDecoder } from "node:string_decoder";
import { type LogLine, LogStream } from "../../../../gen/multinode/invocation/v1/log_service.pb.js";
import type { Logger } from "../definition/context.js";
import { LIMITS } from "../protocol/limits.js";
import { cutText } from "./error_text.js";

export type OutputStream = "stdout" | "stderr";
export type LogLevel = "debug" | "info" | "warn" | "error";

/** How long the beginning of a line waits for its end. */
const PARTIAL_LINE_MS = 1_000;

/** Beyond the log's bounds, for lines of the system, as the stack of the error that ends the execution. */
const SYSTEM_LINES = 200;
const SYSTEM_BYTES = 128 * 1024;

/** The beginning of a line whose end has not been written. Only as much is kept as is shown of a line. */
interface Partial {
  readonly stream: LogStream;
  readonly decoder: StringDecoder;
  text: string;
  /** Characters that were not kept. */
  dropped: number;
}

/**
 * The lines of one execution: numbered from 1, each cut at `LIMITS.logLineLength`, and bounded in number and size. Where a log has
 * reached its bound, a line says so, and only lines of the system follow.
 */
export class ExecutionLog {
  readonly #executionId: string;
  readonly #emit: (lines: readonly LogLine[]) => void;
  readonly #partials: Readonly<Record<OutputStream, Partial>>;
  #lineNumber = 0;
  #sizeBytes = 0;
  #isCut = false;
  #timer: NodeJS.Timeout | undefined;

  /** @param emit is given lines as soon as they are whole */
  constructor(executionId: string, emit: (lines: readonly LogLine[]) => void) {
    this.#executionId = executionId;
    this.#emit = emit;
    this.#partials = {
      stdout: { stream: LogStream.STDOUT, decoder: new StringDecoder("utf8"), text: "", dropped: 0 },
      stderr: { stream: LogStream.STDERR, decoder: new StringDecoder("utf8"), text: "", dropped: 0 },
    };
  }

  /** Takes what was written to a stream, in any pieces. */
  write(stream: OutputStream, chunk: string | Uint8Array): void {
    if (this.#isCut) return;
    const partial = this.#partials[stream];
    const text = typeof chunk === "string" ? chunk : partial.decoder.write(Buffer.from(chunk));
    const lines: LogLine[] = [];
    let start = 0;
    for (let end = text.indexOf("\n"); end >= 0; end = text.indexOf("\n", start)) {
      keep(partial, text.slice(start, end));
      this.#add(lines, partial.stream, takeLine(partial));
      start = end + 1;
    }
    keep(partial, text.slice(start));
    if (lines.length > 0) this.#emit(lines);
    if (partial.text !== "") this.#timer ??= setTimeout(() => this.flush(), PARTIAL_LINE_MS).unref();
  }

  /** Adds lines of the system's own. */
  system(text: string): void {
    this.#addText(LogStream.SYSTEM, text);
  }

  /** Ends the lines that were begun. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const lines: LogLine[] = [];
    for (const partial of [this.#partials.stdout, this.#partials.stderr]) {
      keep(partial, partial.decoder.end());
      if (partial.text !== "") this.#add(lines, partial.stream, takeLine(partial));
    }
    if (lines.length > 0) this.#emit(lines);
  }

  /** The logger of the execution's context. */
  logger(): Logger {
    const at =
      (level: LogLevel) =>
      (message: string, fields?: Readonly<Record<string, unknown>>): void =>
        this.#addText(
          LogStream.LOGGER,
          fields === undefined ? String(message) : `${message} ${fieldsText(fields)}`,
          level,
        );
    return { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  }

  /** As many lines as the text has: whoever reads a log must not take a part of one line for another. */
  #addText(stream: LogStream, text: string, level = ""): void {
    const lines: LogLine[] = [];
    for (const line of text.replace(/\r?\n$/, "").split(/\r?\n/))
      this.#add(lines, stream, cutText(line, LIMITS.logLineLength), level);
    if (lines.length > 0) this.#emit(lines);
  }

  #add(lines: LogLine[], stream: LogStream, text: string, level = ""): void {
    const isSystem = stream === LogStream.SYSTEM;
    if (this.#isCut && !isSystem) return;
    const sizeBytes = this.#sizeBytes + Buffer.byteLength(text);
    const mostLines = LIMITS.logLinesPerExecution + (isSystem ? SYSTEM_LINES : 0);
    const mostBytes = LIMITS.logBytesPerExecution + (isSystem ? SYSTEM_BYTES : 0);
    // One line less than allowed: the last one is the mark.
    if (this.#lineNumber + 1 < mostLines && sizeBytes <= mostBytes) {
      this.#sizeBytes = sizeBytes;
      lines.push(this.#line(stream, text, level));
    } else if (!this.#isCut) {
      this.#isCut = true;
      const mark = `[log cut: an execution keeps ${LIMITS.logLinesPerExecution} lines and ${LIMITS.logBytesPerExecution} bytes]`;
      lines.push(this.#line(LogStream.SYSTEM, mark, ""));
    }
  }

  #line(stream: LogStream, text: string, level: string): LogLine {
    this.#lineNumber += 1;
    return { executionId: this.#executionId, lineNumber: this.#lineNumber, timeMs: Date.now(), stream, text, level };
  }
}

/** Adds to a line as much as will be shown of it. */
function keep(partial: Partial, text: string): void {
  const room = LIMITS.logLineLength + 1 - partial.text.length;
  partial.text += text.length <= room ? text : text.slice(0, room);
  partial.dropped += Math.max(text.length - room, 0);
}

function takeLine(partial: Partial): string {
  const { text, dropped } = partial;
  partial.text = "";
  partial.dropped = 0;
  const line = text.endsWith("\r") && dropped === 0 ? text.slice(0, -1) : text;
  return cutText(line, LIMITS.logLineLength, dropped);
}

function fieldsText(fields: Readonly<Record<string, unknown>>): string {
  try {
    return JSON.stringify(fields, readable);
  } catch {
    // One of them is to blame: the others are shown all the same.
    const texts = Object.keys(fields).map((name) => [JSON.stringify(name), fieldText(fields, name)] as const);
    return `{${texts.flatMap(([name, text]) => (text === undefined ? [] : [`${name}:${text}`])).join(",")}}`;
  }
}

function fieldText(fields: Readonly<Record<string, unknown>>, name: string): string | undefined {
  try {
    return JSON.stringify(fields[name], readable);
  } catch {
    return '"[JSON cannot carry it]"';
  }
}

/** For people: what JSON would refuse, or show as `{}`, as something like it. */
function readable(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return String(value);
  if (value instanceof Error) return `${value.name}: ${value.message}`;
  if (value instanceof Set) return [...value];
  if (!(value instanceof Map)) return value;
  const entries = [...value];
  return entries.every(([key]) => typeof key === "string") ? Object.fromEntries(entries) : entries;
}
