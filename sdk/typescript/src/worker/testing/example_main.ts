/** A `main.mjs` as `deploy` bundles it: functions that do one thing each that a worker has to cope with. */
export const EXAMPLE_MAIN = `
  import { spawn } from "node:child_process";
  const { Multinode, getContext } = globalThis[Symbol.for("multinode.sdk")];
  export const mn = new Multinode();
  const untilAborted = (signal) => new Promise((_, reject) =>
    signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
  const ms = (time) => new Promise((resolve) => setTimeout(resolve, time));

  export const add = mn.function((a, b) => a + b);
  export const echo = mn.function(async (...args) => args);
  export const nothing = mn.function(() => {});
  export const context = mn.function(() => {
    const { signal, logger, ...ids } = getContext();
    return ids;
  });
  export const environment = mn.function(() => ({
    env: { ...process.env }, cwd: process.cwd(), main: process.argv[1],
  }));
  export const fail = mn.function(() => { throw new TypeError("no such thing"); });
  export const large = mn.function((bytes) => "x".repeat(bytes));
  export const unsupported = mn.function(() => ({ a: [() => 1] }));
  export const count = mn.function(function* (upTo) { for (let i = 1; i <= upTo; i += 1) yield i; });
  export const steps = mn.function(async function* () { yield "one"; yield "two"; return "result"; });
  export const yieldLarge = mn.function(function* () { yield "ok"; yield "x".repeat(300000); });
  export const waitForSignal = mn.function(async () => { console.log("waiting"); await untilAborted(getContext().signal); });
  export const cleanUp = mn.function(async () => {
    console.log("waiting");
    try { await untilAborted(getContext().signal); } catch { return "cleaned up"; }
  });
  export const ticks = mn.function(async function* () {
    try { for (let i = 1; ; i += 1) { yield i; await ms(10); } } catch (error) { yield "caught " + error.name; return "ended"; }
  });
  export const hotTicks = mn.function(function* () {
    try { for (let i = 1; ; i += 1) yield i; } finally { console.log("finally"); }
  });
  export const spin = mn.function(() => { console.log("spinning"); for (;;); });
  export const yieldThenSpin = mn.function(function* () { yield 1; for (;;); });
  export const grandchild = mn.function(async function* () {
    const child = spawn("sleep", ["300"], { stdio: "ignore" });
    yield child.pid;
    await untilAborted(getContext().signal);
  });
  export const print = mn.function(async (name) => {
    console.log("out", name);
    await ms(5);
    console.error("err", name);
    process.stdout.write("partial " + name);
    getContext().logger.warn("logged", { name });
  });
  export const printMuch = mn.function(() => { for (let i = 0; i < 20000; i += 1) console.log("line", i); console.log("x".repeat(50000)); });
  export const printLong = mn.function(() => { console.log("x".repeat(50000)); });
  export const uncaught = mn.function(async () => { setTimeout(() => { throw new RangeError("from a timer"); }, 1); await ms(100000); });
  export const rejection = mn.function(async () => { Promise.reject(new RangeError("nobody cared")); await ms(100000); });
  export const exit = mn.function(() => { process.stdout.write("last words"); process.exit(7); });
  export const hold = mn.function(async (mib) => {
    const held = [];
    for (let i = 0; i < mib; i += 1) { held.push(Buffer.alloc(1024 * 1024, i)); await ms(1); }
    await ms(100000);
    return held.length;
  });
`;
