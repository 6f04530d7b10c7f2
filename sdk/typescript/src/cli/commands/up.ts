import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { type Command, Option } from "commander";
import type { EmbeddedOptions, EmbeddedServer } from "../../../../../services/embedded/embedded.js";
import { loginFilePath, multinodeHome, readLoginFile, writeLoginFile } from "../../client/credentials.js";
import { payloadLimit } from "../../client/payload_limit.js";
import { LIMITS } from "../../protocol/limits.js";
import { CommandError } from "../command_error.js";
import type { CommandContext } from "../context.js";
import type { Io } from "../io.js";
import { formatClockMs } from "../output/format.js";
import { paintFor } from "../output/paint.js";
import { fieldLines } from "../output/table.js";
import { writeJsonLine, writeLines } from "../output/write.js";
import { jsonOption, parseWholeNumber } from "../parameters.js";

interface UpOptions {
  port: number;
  dataDir?: string;
  host: string;
  maxWorkers?: number;
  maxPayloadBytes?: number;
  retentionDays?: number;
  metricsPort?: number;
  insecure?: boolean;
  json?: boolean;
}

export type StartServer = (options: EmbeddedOptions) => Promise<EmbeddedServer>;

/** The server is loaded only here, so that the other commands answer at once. */
export async function startEmbeddedServer(options: EmbeddedOptions): Promise<EmbeddedServer> {
  try {
    const { startEmbedded } = await import("../../../../../services/embedded/embedded.js");
    return await startEmbedded(options);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ERR_UNKNOWN_BUILTIN_MODULE")) throw error;
    const message = `a server needs Node ${OLDEST_NODE} or newer; this is ${process.version}.`;
    throw new CommandError("NodeIsTooOld", message, "Install a newer Node; other commands work with this one.");
  }
}

const DEFAULT_PORT = 7411;
/** It has SQLite. */
const OLDEST_NODE = "22.13";
/** As `services/platform/store/data_folder.ts` has it, which is loaded with the server only. */
const DATA_FOLDER_IN_USE = "EDATAFOLDERINUSE";
const MAX_WORKERS = 10_000;

export function registerUp(program: Command, context: CommandContext, start: StartServer): void {
  program
    .command("up")
    .description("run a server of your own on this machine, until Ctrl-C")
    .addOption(
      new Option("--port <number>", "port to listen on; 0 takes a free one")
        .argParser(parseWholeNumber(0, 65_535))
        .default(DEFAULT_PORT),
    )
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--insecure", "allow an address that other machines reach, though nothing is encrypted")
    .option("--data-dir <folder>", "where everything is stored (default: ~/.multinode/server)")
    .addOption(
      new Option("--max-workers <number>", "workers at the same time").argParser(parseWholeNumber(1, MAX_WORKERS)),
    )
    .addOption(
      new Option(
        "--max-payload-bytes <number>",
        "largest input, yielded value or result (default: 250000, or MULTINODE_MAX_PAYLOAD_BYTES)",
      ).argParser(parseWholeNumber(LIMITS.payloadBytesMin, LIMITS.payloadBytesMax)),
    )
    .addOption(
      new Option(
        "--retention-days <number>",
        "how long an invocation is kept after its end (default: until its project is undeployed)",
      ).argParser(parseWholeNumber(LIMITS.retentionDaysMin, LIMITS.retentionDaysMax)),
    )
    .addOption(
      new Option(
        "--metrics-port <number>",
        "port where metrics are served for Prometheus; 0 takes a free one (default: none are kept)",
      ).argParser(parseWholeNumber(0, 65_535)),
    )
    .addOption(jsonOption("write the address as JSON"))
    .action((options: UpOptions) => up(context, options, start));
}

async function up({ io }: CommandContext, options: UpOptions, start: StartServer): Promise<void> {
  const dataDir = resolve(options.dataDir ?? join(multinodeHome(io.env), "server"));
  const server = await startServer(io, dataDir, options, start);
  try {
    const elsewhere = await logIn(io, server);
    if (options.json === true) {
      const { url, metricsUrl, apiKeyFile, firstStart } = server;
      writeJsonLine(io, { url, metricsUrl, apiKeyFile, dataDir, firstStart, loggedIn: elsewhere === undefined });
    } else {
      greet(io, server, dataDir, elsewhere);
    }
    await Promise.race([aborted(io.signal), server.closed]);
  } finally {
    if (io.signal.aborted && options.json !== true) io.stderr.write("\nStopping. Ctrl-C again ends at once.\n");
    await server.stop();
  }
}

async function startServer(io: Io, dataDir: string, options: UpOptions, start: StartServer): Promise<EmbeddedServer> {
  const { port, host, insecure, maxWorkers, retentionDays, metricsPort, json } = options;
  const paint = paintFor(io.stdout, io.env);
  const showsActivity = io.stdout.isTerminal && json !== true;
  try {
    return await start({
      dataDir,
      host,
      port,
      ...(insecure === true ? { insecure } : {}),
      ...(maxWorkers === undefined ? {} : { maxWorkers }),
      ...(retentionDays === undefined ? {} : { retentionDays }),
      ...(metricsPort === undefined ? {} : { metricsPort }),
      maxPayloadBytes: payloadLimit(options.maxPayloadBytes, io.env),
      ...(showsActivity
        ? { onActivity: (line: string) => writeLines(io, [`${paint.dim(formatClockMs(new Date()))}  ${line}`]) }
        : {}),
    });
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    if ("code" in error && error.code === DATA_FOLDER_IN_USE) {
      const hint = "A folder is for one server: multinode up --data-dir FOLDER uses another.";
      throw new CommandError("DataFolderIsInUse", error.message, hint, { cause: error });
    }
    if ("code" in error && (error.code === "EEXIST" || error.code === "ENOTDIR")) {
      throw new CommandError("DataFolderIsNoFolder", `${dataDir} is no folder.`, "Name another: --data-dir FOLDER", {
        cause: error,
      });
    }
    if (!isAddressInUse(error)) throw error;
    const isMetrics = "port" in error && error.port === metricsPort;
    const message = `Something already listens on port ${isMetrics ? metricsPort : port} of ${host}.`;
    const hint = `Perhaps "multinode up" runs already; else choose another: multinode up ${isMetrics ? "--metrics-port 7406" : "--port 7412"}`;
    throw new CommandError("AddressIsInUse", message, hint, { cause: error });
  }
}

function isAddressInUse(error: Error): boolean {
  return "code" in error && error.code === "EADDRINUSE";
}

/**
 * Logs this user in where nobody is, and renews the key of this very server; a login elsewhere is left alone. Answers what
 * leads later commands of this user elsewhere, or undefined where they reach this server without being told.
 */
async function logIn(io: Io, { url, apiKeyFile }: EmbeddedServer): Promise<string | undefined> {
  const apiKey = (await readFile(apiKeyFile, "utf8")).trim();
  const earlier = await readLoginFile(io.env);
  const isElsewhere = earlier.apiUrl !== undefined && earlier.apiUrl !== url;
  if (!isElsewhere && (earlier.apiUrl !== url || earlier.apiKey !== apiKey))
    await writeLoginFile({ apiUrl: url, apiKey }, io.env);
  // The environment goes before the file.
  const { MULTINODE_API_URL = "", MULTINODE_API_KEY = "" } = io.env;
  const isOf = (variable: string, value: string) => variable.trim() === "" || variable.trim() === value;
  if (!isOf(MULTINODE_API_URL, url)) return "MULTINODE_API_URL";
  if (!isOf(MULTINODE_API_KEY, apiKey)) return "MULTINODE_API_KEY";
  return isElsewhere && MULTINODE_API_URL.trim() === "" ? loginFilePath(io.env) : undefined;
}

function greet(
  io: Io,
  { url, metricsUrl, apiKeyFile }: EmbeddedServer,
  dataDir: string,
  elsewhere: string | undefined,
): void {
  const paint = paintFor(io.stdout, io.env);
  const environment = `export MULTINODE_API_URL=${url} MULTINODE_API_KEY="$(cat ${apiKeyFile})"`;
  writeLines(io, [
    `${paint.green("✔")} Multinode is up at ${paint.bold(url)}`,
    ...fieldLines([
      [`  ${paint.dim("data")}`, dataDir],
      [`  ${paint.dim("API key")}`, apiKeyFile],
      [`  ${paint.dim("metrics")}`, metricsUrl],
      [
        `  ${paint.dim("login")}`,
        elsewhere === undefined
          ? `you are logged in to it (${loginFilePath(io.env)})`
          : `${elsewhere} is for another server`,
      ],
      [`  ${paint.dim("use it")}`, elsewhere === undefined ? undefined : environment],
      [`  ${paint.dim("next")}`, "multinode deploy DIR --project-name my_project"],
    ]),
    paint.dim("  Ctrl-C stops it."),
  ]);
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, "abort");
}
