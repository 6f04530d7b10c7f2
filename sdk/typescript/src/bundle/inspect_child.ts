/** Entry of the process that imports a bundle to see what it defines. Argument: the path of its main.mjs. */
import { writeSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { inspect } from "node:util";
import { discover } from "../definition/discover.js";
import * as sdk from "../index.js";
import { type InspectReport, REPORT_FD, type ReportedError } from "./inspect_report.js";
import { SDK_GLOBAL } from "./sdk_module.js";

async function inspectBundle(mainPath: string): Promise<InspectReport> {
  Object.defineProperty(globalThis, Symbol.for(SDK_GLOBAL), { value: sdk });
  let exported: Record<string, unknown>;
  try {
    exported = await import(pathToFileURL(mainPath).href);
  } catch (error) {
    return { kind: "import_failed", error: reported(error) };
  }
  try {
    const functions = discover(exported);
    return {
      kind: "functions",
      functions: [...functions].map(([functionName, { spec }]) => ({
        functionName,
        options: { ...spec.options },
        inputSchema: spec.inputSchema,
        outputSchema: spec.outputSchema,
      })),
    };
  } catch (error) {
    return { kind: "not_a_project", error: reported(error) };
  }
}

function reported(error: unknown): ReportedError {
  if (!(error instanceof Error)) return { name: "Error", message: `threw ${inspect(error)}`, code: "", stack: "" };
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  return { name: error.name, message: error.message, code, stack: error.stack ?? "" };
}

/** `writeSync` on a pipe may take a part only. */
function send(report: InspectReport): void {
  let rest: Uint8Array = Buffer.from(JSON.stringify(report));
  while (rest.length > 0) rest = rest.subarray(writeSync(REPORT_FD, rest));
}

process.on("uncaughtException", (error) => {
  send({ kind: "import_failed", error: reported(error) });
  process.exit(0);
});
send(await inspectBundle(process.argv[2] ?? ""));
// Timers and connections that the import left open must not keep the process.
process.exit(0);
