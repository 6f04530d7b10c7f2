/** AppendLogs: stores what executions printed. */
import type {
  AppendLogsRequest,
  DispatchServiceImplementation,
} from "../../../gen/multinode/invocation/v1/dispatch_service.pb.js";
import { LogStream } from "../../../gen/multinode/invocation/v1/log_service.pb.js";
import { LIMITS } from "../../../sdk/typescript/src/protocol/limits.js";
import { badRequest } from "../../platform/errors.js";
import type { Caller } from "../../platform/rpc/principal.js";
import type { InvocationDeps } from "../deps.js";

const LEVELS: ReadonlySet<string> = new Set(["debug", "info", "warn", "error"]);
const STREAMS: ReadonlySet<LogStream> = new Set([
  LogStream.STDOUT,
  LogStream.STDERR,
  LogStream.LOGGER,
  LogStream.SYSTEM,
]);
/** What not every database holds, and what would show as a line that nobody wrote: a project's image may hold another worker. */
const NOT_OF_A_LINE = /\0|\r?\n/g;

export function appendLogsHandler({
  db,
  store,
  bus,
}: InvocationDeps): Pick<DispatchServiceImplementation<Caller>, "appendLogs"> {
  return {
    async appendLogs({ lines }: AppendLogsRequest) {
      if (lines.length > LIMITS.logLinesPerRequest) {
        throw badRequest([{ field: "lines", description: `has more than ${LIMITS.logLinesPerRequest} items` }]);
      }
      const rows = lines
        // A worker bounds the lines of its functions, and a scheduler those of their child processes.
        .filter(({ lineNumber }) => lineNumber >= 1 && lineNumber <= 2 * LIMITS.logLinesPerExecution)
        .map((line) => ({
          ...line,
          stream: STREAMS.has(line.stream) ? line.stream : LogStream.STDOUT,
          text: line.text.slice(0, LIMITS.logLineLength).replaceAll(NOT_OF_A_LINE, "\uFFFD").toWellFormed(),
          level: LEVELS.has(line.level) ? line.level : "",
          printed: line.printed === true ? 1 : 0,
        }));
      await db.write((tx) => store.appendLogs(tx, rows), { durability: "relaxed" });
      const executionIds = [...new Set(rows.map(({ executionId }) => executionId))];
      bus.publish({ $case: "logs", value: { executionIds } });
      return {};
    },
  };
}
