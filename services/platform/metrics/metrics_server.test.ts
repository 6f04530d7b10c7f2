/** Metrics as whoever scrapes them gets them. */
import { connect } from "node:net";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createLogger } from "../log.js";
import { type MetricsServer, serveMetrics } from "./metrics_server.js";

const LOCAL = { host: "127.0.0.1", port: 0 };
const logged: Record<string, unknown>[] = [];
const log = createLogger("test", "warn", {
  write: (line) => void logged.push(JSON.parse(line) as Record<string, unknown>),
});

let server: MetricsServer;
beforeEach(async () => {
  logged.length = 0;
  server = await serveMetrics(LOCAL, log);
});
afterEach(() => server.close());

const get = (path: string, init?: RequestInit) => fetch(`http://127.0.0.1:${server.port}${path}`, init);
const read = async () => await (await get("/metrics")).text();

test("are told at /metrics, and nothing else is", async () => {
  server.metrics.counter("calls_total", "Calls", ["kind"]).labels('a "b"\n').inc(2);
  const answer = await get("/metrics?name=all");
  expect([answer.status, answer.headers.get("content-type")]).toEqual([
    200,
    "text/plain; version=0.0.4; charset=utf-8",
  ]);
  const text = await answer.text();
  expect(text).toContain('# HELP calls_total Calls\n# TYPE calls_total counter\ncalls_total{kind="a \\"b\\"\\n"} 2\n');
  expect(text).toContain("\nnodejs_eventloop_lag_p99_seconds ");
  expect((await get("/metrics", { method: "HEAD" })).status).toBe(200);
  expect((await get("/metrics", { method: "POST", body: "x" })).status).toBe(405);
  for (const path of ["/", "/metrics/x", "/..%2fmetrics"]) expect((await get(path)).status).toBe(404);
});

test("that cannot be looked up leave the others as they are, and that is logged", async () => {
  const gauge = server.metrics.gauge("level", "A level");
  let level: number | undefined = 1;
  server.metrics.beforeEach(() => {
    if (level === undefined) throw new Error("the database is away");
    gauge.set(level);
  });
  expect(await read()).toContain("\nlevel 1\n");
  level = undefined;
  expect(await read()).toContain("\nlevel 1\n");
  expect(logged).toMatchObject([{ level: 40, msg: "a metric could not be brought up to date" }]);
});

test("that take long are told next time, and do not hold up the others", async () => {
  const looking = Promise.withResolvers<void>();
  const gauge = server.metrics.gauge("level", "A level");
  let looks = 0;
  server.metrics.beforeEach(async () => {
    looks += 1;
    await looking.promise;
    gauge.set(7);
  });
  expect(await read()).toContain("\nlevel 0\n");
  expect(looks).toBe(1);
  looking.resolve();
  await expect.poll(read).toContain("\nlevel 7\n");
});

test("are there for others where many connect and say nothing", async () => {
  const idle = Array.from({ length: 40 }, () => connect(server.port, LOCAL.host).on("error", () => {}));
  await expect.poll(() => read().catch(() => ""), { timeout: 15_000 }).toContain("process_resident_memory_bytes");
  for (const socket of idle) socket.destroy();
});

test("are looked up once, however many ask while they are", async () => {
  const looking = Promise.withResolvers<void>();
  let looks = 0;
  server.metrics.beforeEach(async () => {
    looks += 1;
    await looking.promise;
  });
  const answers = [read(), read(), read()];
  await expect.poll(() => looks).toBe(1);
  // Each has its connection by now, which is answered in order.
  expect((await get("/")).status).toBe(404);
  looking.resolve();
  await Promise.all(answers);
  expect(looks).toBe(1);
  await read();
  expect(looks).toBe(2);
});

test("end with their server, also for who is still connected", async () => {
  const looked = Promise.withResolvers<void>();
  server.metrics.beforeEach(async () => {
    looked.resolve();
    await new Promise(() => {});
  });
  const answer = read();
  await looked.promise;
  server.close();
  await expect(answer).rejects.toThrow("fetch failed");
  await expect(read()).rejects.toThrow("fetch failed");
});

test("at a port that is taken are refused", async () => {
  await expect(serveMetrics({ ...LOCAL, port: server.port }, log)).rejects.toMatchObject({
    code: "EADDRINUSE",
    port: server.port,
  });
});
