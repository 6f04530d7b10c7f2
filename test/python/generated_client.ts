/** Runs client.py with code that protoc generates from the contracts into a temporary folder. */
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const run = promisify(execFile);
const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url));
const PYTHON = process.env["MULTINODE_TEST_PYTHON"] ?? "/usr/bin/python3";
const TIMEOUT_MS = 30_000;

/** What a run of a Python program came to. */
export interface PythonRun {
  readonly exitCode: number;
  /** Each line of standard output, parsed. */
  readonly lines: readonly unknown[];
  readonly stderr: string;
}

export interface GeneratedClient {
  client(...args: readonly string[]): Promise<PythonRun>;
  /** The same, and tells each line of standard output when it comes. */
  listen(heard: (line: unknown) => void, ...args: readonly string[]): Promise<PythonRun>;
  /** Runs another program that imports the generated code. */
  program(text: string): Promise<PythonRun>;
  remove(): Promise<void>;
}

/** Why there can be no such client on this machine; undefined: there can. */
export async function missingForPython(): Promise<string | undefined> {
  const probes: readonly (readonly [debianPackage: string, command: string, ...args: string[]])[] = [
    ["python3-grpcio", PYTHON, "-c", "import grpc, google.protobuf"],
    ["protobuf-compiler", "protoc", "--version"],
    ["protobuf-compiler-grpc", "sh", "-c", "command -v grpc_python_plugin"],
  ];
  const missing: string[] = [];
  for (const [debianPackage, command, ...args] of probes) {
    await run(command, args, { timeout: TIMEOUT_MS }).catch(() => missing.push(debianPackage));
  }
  return missing.length === 0 ? undefined : `needs ${missing.join(" ")}`;
}

export async function generateClient(environment: Readonly<Record<string, string>>): Promise<GeneratedClient> {
  const folder = await mkdtemp(join(tmpdir(), "multinode-python-"));
  const generated = join(folder, "generated");
  await mkdir(generated);
  await generate(join(folder, "contracts.binpb"), generated);
  const env = { PATH: process.env["PATH"], PYTHONPATH: generated, PYTHONDONTWRITEBYTECODE: "1", ...environment };
  const python = async (args: readonly string[], heard?: (line: unknown) => void): Promise<PythonRun> => {
    try {
      const running = run(PYTHON, args, { env, timeout: TIMEOUT_MS });
      const { stdout: said } = running.child;
      if (heard !== undefined && said !== null) createInterface(said).on("line", (line) => heard(JSON.parse(line)));
      const { stdout, stderr } = await running;
      return { exitCode: 0, lines: parseLines(stdout), stderr };
    } catch (error) {
      const { code, stdout = "", stderr = "" } = error as { code?: unknown; stdout?: string; stderr?: string };
      if (typeof code !== "number") throw error;
      return { exitCode: code, lines: parseLines(stdout), stderr };
    }
  };
  const client = fileURLToPath(new URL("client.py", import.meta.url));
  return {
    client: (...args) => python([client, ...args]),
    listen: (heard, ...args) => python([client, ...args], heard),
    program: (text) => python(["-c", text]),
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** As docs/other-languages.md says it: buf knows Google's own contracts, which protoc alone needs a package for. */
async function generate(descriptors: string, generated: string): Promise<void> {
  const options = { cwd: REPOSITORY, timeout: TIMEOUT_MS };
  await run(join(REPOSITORY, "node_modules", ".bin", "buf"), ["build", "proto", "-o", descriptors], options);
  const names = await readdir(join(REPOSITORY, "proto"), { recursive: true });
  const { stdout } = await run("sh", ["-c", "command -v grpc_python_plugin"], options);
  const args = [`--python_out=${generated}`, `--grpc_python_out=${generated}`];
  const plugin = `--plugin=protoc-gen-grpc_python=${stdout.trim()}`;
  const contracts = names.filter((name) => name.endsWith(".proto"));
  await run("protoc", [`--descriptor_set_in=${descriptors}`, ...args, plugin, ...contracts], options);
}

function parseLines(text: string): unknown[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line): unknown => JSON.parse(line));
}
