/**
 * pg-boss as a user would tune it, on a PostgreSQL of its own: jobs inserted at once, a worker in a process of its own that is
 * woken by NOTIFY and takes many at a time, and a client that looks for results again and again, since nobody tells it.
 */
import { randomUUID } from "node:crypto";
import pg from "pg";
import { PgBoss } from "pg-boss";
import { startPostgres } from "../../harness/postgres.js";
import type { Bench } from "../measurement.js";
import { machineClockMs, pause } from "./clock.js";
import type { Parts } from "./cpu.js";
import { childrenOf } from "./proc.js";
import { program } from "./repository.js";

const QUEUE = "bench";
/** Between two looks for the results of a burst, and for the one of a call. */
const LOOK_MS = { burst: 20, call: 1 };
/** Bound of one burst of jobs, and of one call. */
const RESULTS_BOUND_MS = 60_000;

interface Numbered {
  readonly value: number;
}

export async function openPgBoss({ processes }: Bench): Promise<PgBossQueue> {
  await using cleanup = new AsyncDisposableStack();
  const postgres = await startPostgres();
  cleanup.defer(() => postgres.remove());
  const boss = new PgBoss({ connectionString: postgres.url, supervise: false, schedule: false });
  boss.on("error", () => {}); // told by the call that fails
  await boss.start();
  cleanup.defer(() => boss.stop({ graceful: false }));
  await boss.createQueue(QUEUE, { notify: true, retryLimit: 0, partition: true });
  const reader = new pg.Client({ connectionString: postgres.url });
  await reader.connect();
  cleanup.defer(() => reader.end());
  const worker = processes.node([program("pgboss_worker"), postgres.url, QUEUE]);
  cleanup.defer(() => worker.stop());
  await worker.message();
  const parts = () => ({ postgres: [postgres.pid, ...childrenOf(postgres.pid)], worker: [worker.pid] });
  return new PgBossQueue(boss, reader, parts, cleanup.move());
}

export class PgBossQueue implements AsyncDisposable {
  readonly parts: Parts;
  readonly #boss: PgBoss;
  readonly #reader: pg.Client;
  readonly #cleanup: AsyncDisposableStack;

  constructor(boss: PgBoss, reader: pg.Client, parts: Parts, cleanup: AsyncDisposableStack) {
    this.#boss = boss;
    this.#reader = reader;
    this.parts = parts;
    this.#cleanup = cleanup;
  }

  async call(value: number): Promise<unknown> {
    const id = randomUUID();
    await this.#boss.send(QUEUE, { value }, { id });
    const [output] = await this.#results("id = $1", [id], 1, LOOK_MS.call);
    return output;
  }

  /** Inserts `count` jobs with one statement and collects the result of each. */
  async callAll(count: number): Promise<void> {
    await this.#boss.insert(
      QUEUE,
      Array.from({ length: count }, (_, value) => ({ data: { value } })),
    );
    const results = await this.#results("name = $1", [QUEUE], count, LOOK_MS.burst);
    if (new Set(results).size !== count) throw new Error(`${results.length} results of pg-boss are not all there`);
  }

  /** Empties the queue: jobs that are done slow the next ones down. */
  async clear(): Promise<void> {
    await this.#boss.deleteAllJobs(QUEUE);
    await this.#reader.query("VACUUM ANALYZE");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#cleanup.disposeAsync();
  }

  async #results(which: string, parameters: string[], count: number, lookMs: number): Promise<number[]> {
    const done = `FROM pgboss.job WHERE ${which} AND state = 'completed'`;
    const deadline = machineClockMs() + RESULTS_BOUND_MS;
    for (;;) {
      const { rows } = await this.#reader.query<{ count: string }>(`SELECT count(*) ${done}`, parameters);
      if (Number(rows[0]?.count) >= count) break;
      if (machineClockMs() > deadline)
        throw new Error(`${count} jobs of pg-boss took longer than ${RESULTS_BOUND_MS} ms`);
      await pause(lookMs);
    }
    const { rows } = await this.#reader.query<{ output: Numbered }>(`SELECT output ${done}`, parameters);
    return rows.map(({ output }) => output.value);
  }
}
