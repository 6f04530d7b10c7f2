/** A backup is made while the installation works, as docs/running-a-cluster.md says, and another one begins with it. */
import { execFileSync } from "node:child_process";
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { expect, inject, it, onTestFinished } from "vitest";
import { InvocationDoesNotExist } from "../../sdk/typescript/src/errors.js";
import { connectTarget } from "../harness/connected_target.js";
import { postgresProgram } from "../harness/postgres.js";
import { startServicesTarget } from "../harness/services_target.js";

const TASKS = `
import { Multinode } from "multinode";
import { setTimeout as sleep } from "node:timers/promises";
export const mn = new Multinode();
export const secret = mn.function(() => process.env.SECRET);
export const double = mn.function((n: number) => 2 * n);
export const slow = mn.function({ maxConcurrency: 1, maxRetries: 1 }, async (name: string, ms: number) => {
  await sleep(ms);
  return name;
});
`;
const SECRET = "hush-hush-hush";
/** Longer than the test takes. */
const LONG_MS = 600_000;
/** The lease of what ran lasts for 30 s. */
const BOUND_MS = 90_000;

async function createDatabase(name: string): Promise<string> {
  const url = inject("postgresUrl");
  if (url === undefined) throw new Error("this test needs PostgreSQL");
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
  return url.replace(/postgres$/, name);
}

async function startOn(databaseUrl: string, folder: string) {
  const env = (name: string): Record<string, string> =>
    name === "scheduler" ? {} : { MULTINODE_DATABASE_URL: databaseUrl };
  const services = await startServicesTarget(folder, { env });
  onTestFinished(() => services.stop());
  const target = connectTarget(services);
  onTestFinished(() => target.close());
  return { services, target };
}

it(
  "a backup holds what was acknowledged before it, and what ran is tried again",
  async () => {
    const folder = await mkdtemp(join(tmpdir(), "multinode-backup-"));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const [oldDatabase, newDatabase] = [await createDatabase("before"), await createDatabase("after")];
    const { services, target } = await startOn(oldDatabase, join(folder, "old"));
    const { projectName, fn } = await target.deploy({ "main.ts": TASKS, ".env": `SECRET=${SECRET}\n` });
    const double = fn<(n: number) => number>("double");
    const slow = fn<(name: string, ms: number) => string>("slow");
    const finished = await double.start(21);
    expect(await double.awaitResult(finished)).toBe(42);
    const running = await slow.start("running", LONG_MS);
    for await (const { status } of slow.watch(running)) if (status === "RUNNING") break;
    const waiting = await slow.start("waiting", 0);

    const dump = join(folder, "dump");
    execFileSync(postgresProgram("pg_dump"), ["--format=custom", `--file=${dump}`, oldDatabase]);
    // Without the registry's folder it tells no secret.
    expect(execFileSync(postgresProgram("pg_dump"), [oldDatabase], { encoding: "latin1" })).not.toContain(
      Buffer.from(SECRET).toString("hex"),
    );
    await cp(join(folder, "old", "registry"), join(folder, "new", "registry"), { recursive: true });
    const tooLate = await double.start(1);
    await double.awaitResult(tooLate);
    await services.stop();

    execFileSync(postgresProgram("pg_restore"), [`--dbname=${newDatabase}`, dump]);
    const restored = await startOn(newDatabase, join(folder, "new"));
    expect(restored.services.apiKey).toBe(services.apiKey);
    const doubleNow = restored.target.fn<(n: number) => number>(projectName, "double");
    const slowNow = restored.target.fn<(name: string, ms: number) => string>(projectName, "slow");
    expect(await doubleNow.get(finished)).toMatchObject({ status: "SUCCEEDED", result: 42 });
    await expect(doubleNow.get(tooLate)).rejects.toThrow(InvocationDoesNotExist);
    expect(await doubleNow.callRemote(4)).toBe(8); // its code is there
    expect(await restored.target.fn(projectName, "secret").callRemote()).toBe(SECRET);
    // It ran when the backup was made: that attempt is lost, and its slot goes to the next one.
    for await (const { numFailedAttempts, status } of slowNow.watch(running)) {
      if (numFailedAttempts === 1 && status === "RUNNING") break;
    }
    await slowNow.cancel(running);
    expect(await slowNow.awaitResult(waiting)).toBe("waiting");
  },
  BOUND_MS,
);
