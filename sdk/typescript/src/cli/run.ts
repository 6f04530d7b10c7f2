import { Command, CommanderError } from "commander";
import { QuietFailure, UsageError } from "./command_error.js";
import { registerCancel } from "./commands/cancel.js";
import { registerDeploy } from "./commands/deploy.js";
import { registerDescribe } from "./commands/describe.js";
import { registerKeys } from "./commands/keys.js";
import { registerList } from "./commands/list.js";
import { registerLogin } from "./commands/login.js";
import { registerLogout } from "./commands/logout.js";
import { registerLogs } from "./commands/logs.js";
import { registerStart } from "./commands/start.js";
import { registerUndeploy } from "./commands/undeploy.js";
import { registerUp, type StartServer, startEmbeddedServer } from "./commands/up.js";
import { registerWatch } from "./commands/watch.js";
import { connect } from "./connect.js";
import type { CommandContext } from "./context.js";
import { type Io, wantsColor } from "./io.js";
import { type GivenNames, USAGE_HINT, writeError } from "./output/error.js";
import { paintFor } from "./output/paint.js";
import { VERSION } from "./version.js";

const EXIT_FAILED = 1;
const EXIT_USAGE = 2;
/** What a shell reports for a command that Ctrl-C ended. */
const EXIT_INTERRUPTED = 130;

/**
 * Runs one command line.
 *
 * @param argv without the program's own name
 * @param startServer how \`up\` starts its server
 * @returns the exit status: 0 done, 1 the operation failed, 2 the command line was wrong, 130 ended by Ctrl-C
 */
export async function run(
  argv: readonly string[],
  io: Io,
  startServer: StartServer = startEmbeddedServer,
): Promise<number> {
  const json = argv.includes("--json");
  let given: GivenNames = {};
  try {
    await program({ io, connect: () => connect(io) }, { json, startServer })
      .hook("preAction", (_program, command) => {
        given = command.opts<GivenNames>();
      })
      .parseAsync(withOptions(argv), { from: "user" });
    return 0;
  } catch (error) {
    if (error instanceof QuietFailure) return EXIT_FAILED;
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0;
      if (json) writeError(io, new UsageError(error.message.replace(/^error: /, "")), { json });
      return EXIT_USAGE;
    }
    if (io.signal.aborted) return EXIT_INTERRUPTED;
    writeError(io, error, { json, given });
    return error instanceof UsageError ? EXIT_USAGE : EXIT_FAILED;
  }
}

/** What changes projects takes `project-name=NAME` as well: so it was written before there was a program. */
function withOptions(argv: readonly string[]): string[] {
  const [command = ""] = argv;
  if (!["deploy", "upgrade", "undeploy"].includes(command)) return [...argv];
  return argv.map((arg) => (arg.startsWith("project-name=") ? `--${arg}` : arg));
}

/** Where errors are written as JSON, commander must not write them. */
function program(
  context: CommandContext,
  { json, startServer }: { readonly json: boolean; readonly startServer: StartServer },
): Command {
  const { io } = context;
  const paint = paintFor(io.stdout, io.env);
  const command = new Command("multinode")
    .description("Deploys functions, calls them, and shows what becomes of the calls.")
    .version(VERSION, "-V, --version", "show the version")
    .helpOption("-h, --help", "show what a command does and takes")
    .exitOverride()
    .configureOutput({
      writeOut: (text) => io.stdout.write(text),
      writeErr: (text) => (json ? undefined : io.stderr.write(text)),
      getOutHelpWidth: () => Math.min(io.stdout.columns, 110),
      getErrHelpWidth: () => Math.min(io.stderr.columns, 110),
      getOutHasColors: () => wantsColor(io.stdout, io.env),
      getErrHasColors: () => wantsColor(io.stderr, io.env),
      outputError: (text, write) => write(text.replace(/^error: /, `${paintFor(io.stderr, io.env).red("error")} `)),
    })
    .configureHelp({ styleTitle: paint.bold, styleCommandText: paint.cyan, styleOptionText: paint.cyan })
    .showHelpAfterError(`next  ${USAGE_HINT}`);

  command.commandsGroup("Server:");
  registerUp(command, context, startServer);
  registerLogin(command, context);
  registerLogout(command, context);
  registerKeys(command, context);
  command.commandsGroup("Projects:");
  registerDeploy(command, context);
  registerUndeploy(command, context);
  registerList(command, context);
  registerDescribe(command, context);
  command.commandsGroup("Invocations:");
  registerStart(command, context);
  registerWatch(command, context);
  registerCancel(command, context);
  registerLogs(command, context);
  command.addHelpCommand(
    new Command("help").argument("[command]").description("show what a command does and takes").helpGroup("Help:"),
  );
  return command;
}
