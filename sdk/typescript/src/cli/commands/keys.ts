import { type Command, InvalidArgumentError, Option } from "commander";
import { ApiKeyRole } from "../../../../../gen/multinode/registry/v1/api_key_role.pb.js";
import type { ApiKey } from "../../../../../gen/multinode/registry/v1/api_key_service.pb.js";
import { LIMITS } from "../../protocol/limits.js";
import { CommandError, UsageError } from "../command_error.js";
import type { CommandContext } from "../context.js";
import { formatTime } from "../output/format.js";
import { paintFor } from "../output/paint.js";
import { tableLines } from "../output/table.js";
import { writeJson, writeLines } from "../output/write.js";
import { jsonOption, keyIdArgument, parseDuration, projectNameOption } from "../parameters.js";

const ROLES = { read: ApiKeyRole.READ, invoke: ApiKeyRole.INVOKE, deploy: ApiKeyRole.DEPLOY, admin: ApiKeyRole.ADMIN };
type RoleName = keyof typeof ROLES;

interface CreateOptions {
  role: RoleName;
  projectName?: string;
  /** Milliseconds. */
  expiresIn?: number;
  json?: boolean;
}

const PAGE_SIZE = 1_000;
const DAY_MS = 24 * 60 * 60 * 1_000;

export function registerKeys(program: Command, context: CommandContext): void {
  const keys = program.command("keys").description("make, list and revoke API keys");
  keys
    .command("create")
    .description("make an API key, and show it this once")
    .argument("<name>", "what to call it")
    .addOption(
      new Option("--role <role>", "what its holder may do; each role may do all that the ones before it may")
        .choices(Object.keys(ROLES))
        .makeOptionMandatory(),
    )
    .addOption(projectNameOption("the only project that it is for; not with the role admin"))
    .option("--expires-in <duration>", "how long it is good, such as 90d (default: until it is revoked)", parseLifetime)
    .addOption(jsonOption())
    .action((name: string, options: CreateOptions) => create(context, name, options));
  keys
    .command("list")
    .description("list the API keys, newest first, without their secrets")
    .addOption(jsonOption())
    .action((options: { json?: boolean }) => list(context, options));
  keys
    .command("revoke")
    .description("make an API key invalid, everywhere within 5 seconds")
    .addArgument(keyIdArgument())
    .addOption(jsonOption())
    .action((keyId: string, options: { json?: boolean }) => revoke(context, keyId, options));
}

function parseLifetime(value: string): number {
  const lifetimeMs = parseDuration(value);
  if (lifetimeMs >= LIMITS.apiKeyLifetimeMinMs && lifetimeMs <= LIMITS.apiKeyLifetimeMs) return lifetimeMs;
  throw new InvalidArgumentError(`It must be from 1m to ${LIMITS.apiKeyLifetimeMs / DAY_MS}d.`);
}

async function create(
  { io, connect }: CommandContext,
  displayName: string,
  { role, projectName = "", expiresIn, json }: CreateOptions,
): Promise<void> {
  if (role === "admin" && projectName !== "")
    throw new UsageError("Give --project-name with another role: a key with the role admin is for all projects.");
  await using client = await connect();
  const request = { displayName, role: ROLES[role], projectName, lifetimeMs: expiresIn };
  const { apiKey, secret } = await client.apiKeys.createApiKey(request, { signal: io.signal });
  if (apiKey === undefined) throw new Error("the server answered without a key");
  const isAsAsked = apiKey.role === request.role && apiKey.projectName === projectName;
  if (!isAsAsked || (apiKey.expireTimeMs === undefined) !== (expiresIn === undefined)) {
    await client.apiKeys.revokeApiKey({ keyId: apiKey.keyId });
    const problem = "this server is too old to know roles; the key that it made, which may do everything, is revoked";
    throw new CommandError("ServerIsTooOld", problem, "Upgrade the server.");
  }
  if (json === true) return writeJson(io, { ...shown(apiKey), apiKey: secret });
  const paint = paintFor(io.stdout, io.env);
  writeLines(io, [
    `${paint.green("✔")} ${apiKey.keyId} may ${roleName(apiKey)} ${placeOf(apiKey)}, ${endOf(apiKey)}.`,
    `  API key  ${secret}`,
    "  It is not shown again.",
  ]);
}

async function list({ io, connect }: CommandContext, { json }: { json?: boolean }): Promise<void> {
  await using client = await connect();
  const keys: ApiKey[] = [];
  let offset = "";
  do {
    const page = await client.apiKeys.listApiKeys({ pageSize: PAGE_SIZE, offset }, { signal: io.signal });
    keys.push(...page.apiKeys);
    offset = page.nextOffset;
  } while (offset !== "");
  if (json === true) return writeJson(io, { apiKeys: keys.map(shown) });
  const paint = paintFor(io.stdout, io.env);
  const rows = keys.map((key) => [
    key.keyId,
    paint.bold(key.displayName),
    roleName(key),
    key.projectName === "" ? "all" : key.projectName,
    formatTime(new Date(key.createTimeMs)),
    endOf(key),
  ]);
  const titles = ["KEY", "NAME", "ROLE", "PROJECT", "CREATED", "GOOD"].map((title) => paint.dim(title));
  writeLines(io, tableLines(titles, rows));
}

async function revoke({ io, connect }: CommandContext, keyId: string, { json }: { json?: boolean }): Promise<void> {
  await using client = await connect();
  const { apiKey } = await client.apiKeys.revokeApiKey({ keyId }, { signal: io.signal });
  if (apiKey === undefined) throw new Error("the server answered without a key");
  if (json === true) return writeJson(io, shown(apiKey));
  writeLines(io, [`${keyId} is revoked, and refused everywhere within 5 seconds.`]);
}

function shown(key: ApiKey) {
  return {
    keyId: key.keyId,
    displayName: key.displayName,
    role: roleName(key),
    projectName: key.projectName === "" ? null : key.projectName,
    createdAt: new Date(key.createTimeMs),
    expiresAt: timeOf(key.expireTimeMs),
    revokedAt: timeOf(key.revokeTimeMs),
  };
}

function timeOf(timeMs: number | undefined): Date | null {
  return timeMs === undefined ? null : new Date(timeMs);
}

/** A newer server may have roles that are not known here. */
function roleName({ role }: ApiKey): string {
  return Object.entries(ROLES).find(([, value]) => value === role)?.[0] ?? `role ${role}`;
}

function placeOf({ projectName }: ApiKey): string {
  return projectName === "" ? "in all projects" : `in ${projectName}`;
}

function endOf({ expireTimeMs, revokeTimeMs }: ApiKey): string {
  if (revokeTimeMs !== undefined) return `revoked ${formatTime(new Date(revokeTimeMs))}`;
  return expireTimeMs === undefined ? "until it is revoked" : `until ${formatTime(new Date(expireTimeMs))}`;
}
