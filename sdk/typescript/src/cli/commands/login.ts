import { readFile } from "node:fs/promises";
import type { Command } from "commander";
import { loginFilePath, readLoginFile, writeLoginFile } from "../../client/credentials.js";
import { UsageError } from "../command_error.js";
import { connectWith } from "../connect.js";
import type { CommandContext } from "../context.js";
import type { Io } from "../io.js";
import { paintFor } from "../output/paint.js";
import { writeLines } from "../output/write.js";

interface LoginOptions {
  apiUrl?: string;
  apiKey?: string;
  apiKeyFile?: string;
}

const LOCAL_URL = "http://127.0.0.1:7411";

export function registerLogin(program: Command, context: CommandContext): void {
  program
    .command("login")
    .description("check an address and an API key, and keep them for later commands and applications")
    .option("--api-url <url>", `address of the server, such as ${LOCAL_URL}`)
    .option("--api-key <key>", "the API key")
    .option("--api-key-file <file>", "file that holds the API key")
    .action((options: LoginOptions) => login(context, options));
}

async function login({ io }: CommandContext, options: LoginOptions): Promise<void> {
  const earlier = await readLoginFile(io.env);
  const apiUrl = checkUrl(options.apiUrl ?? (await askForUrl(io, earlier.apiUrl ?? LOCAL_URL)));
  const apiKey = await apiKeyOf(io, options);
  {
    await using client = await connectWith({ apiUrl, apiKey });
    await client.registry.listProjects({ pageSize: 1 }, { signal: io.signal });
  }
  const path = await writeLoginFile({ apiUrl, apiKey }, io.env);
  const paint = paintFor(io.stdout, io.env);
  writeLines(io, [`${paint.green("✔")} Logged in to ${apiUrl}. The credentials are in ${path}.`]);
  for (const name of ["MULTINODE_API_URL", "MULTINODE_API_KEY"]) {
    if (io.env[name]) io.stderr.write(`Note: ${name} is set and is used in place of ${loginFilePath(io.env)}.\n`);
  }
}

async function askForUrl(io: Io, proposed: string): Promise<string> {
  if (io.ask === undefined) throw new UsageError("Give --api-url: nobody can be asked for it here.");
  return (await io.ask(`Address of the server [${proposed}]: `, { hidden: false })) || proposed;
}

async function apiKeyOf(io: Io, { apiKey, apiKeyFile }: LoginOptions): Promise<string> {
  if (apiKey !== undefined && apiKeyFile !== undefined) {
    throw new UsageError("Give --api-key or --api-key-file, not both.");
  }
  if (apiKeyFile !== undefined) return checkKey(await readKey(apiKeyFile), apiKeyFile);
  if (apiKey !== undefined) return checkKey(apiKey, "--api-key");
  if (io.ask === undefined) {
    throw new UsageError("Give --api-key-file or --api-key: nobody can be asked for the key here.");
  }
  return checkKey(await io.ask("API key (not shown): ", { hidden: true }), "the answer");
}

async function readKey(file: string): Promise<string> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    throw new UsageError(`The file of the API key, ${file}, cannot be read.`, { cause: error });
  }
}

/** Keys go into a header, where a line break or a blank would be a fault that the server could not explain. */
function checkKey(text: string, source: string): string {
  const key = text.trim();
  if (!/^[\x21-\x7e]+$/.test(key)) throw new UsageError(`There is no API key in ${source}.`);
  return key;
}

function checkUrl(text: string): string {
  const url = URL.parse(text.trim());
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw new UsageError(
      `"${text}" is no address of a server; it looks like ${LOCAL_URL} or https://multinode.example.com.`,
    );
  }
  return url.origin;
}
