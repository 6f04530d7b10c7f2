import { type LogLine, LogStream } from "../../../../../gen/multinode/invocation/v1/log_service.pb.js";
import { formatClockMs } from "./format.js";
import type { Paint } from "./paint.js";

const STREAM_NAMES: Readonly<Record<LogStream, string>> = {
  [LogStream.UNSPECIFIED]: "UNKNOWN",
  [LogStream.STDOUT]: "STDOUT",
  [LogStream.STDERR]: "STDERR",
  [LogStream.LOGGER]: "LOGGER",
  [LogStream.SYSTEM]: "SYSTEM",
  // A stream of a newer server.
  [LogStream.UNRECOGNIZED]: "UNKNOWN",
};

/** A line of a log for a person: its time, where it was written to, and its text. */
export function logLineText(line: LogLine, paint: Paint, options: { readonly withExecution: boolean }): string {
  const time = paint.dim(formatClockMs(new Date(line.timeMs)));
  const execution = options.withExecution ? ` ${paint.dim(line.executionId)}` : "";
  return `${time}${execution} ${tag(line, paint)} ${line.text}`;
}

function tag({ stream, level }: LogLine, paint: Paint): string {
  switch (stream) {
    case LogStream.STDOUT:
      return paint.dim("out  ");
    case LogStream.STDERR:
      return paint.yellow("err  ");
    case LogStream.LOGGER:
      return levelTag(level, paint);
    case LogStream.SYSTEM:
      return paint.magenta("sys  ");
    case LogStream.UNSPECIFIED:
    case LogStream.UNRECOGNIZED:
      return "     ";
  }
}

function levelTag(level: string, paint: Paint): string {
  const text = level.padEnd(5);
  if (level === "error") return paint.red(text);
  if (level === "warn") return paint.yellow(text);
  return level === "debug" ? paint.dim(text) : paint.cyan(text);
}

export function logLineJson(line: LogLine): Record<string, unknown> {
  const { executionId, lineNumber, timeMs, stream, level, text } = line;
  return {
    executionId,
    lineNumber,
    time: new Date(timeMs),
    stream: STREAM_NAMES[stream],
    ...(level === "" ? {} : { level }),
    text,
  };
}
