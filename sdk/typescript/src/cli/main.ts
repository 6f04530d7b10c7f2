#!/usr/bin/env node
import { boundYoungGeneration } from "./small_heap.js";

/** Whatever is still open after a command must not keep its process for longer than this. */
const LINGER_MS = 2_000;

if (process.argv[2] === "up") boundYoungGeneration(process);

// Not before: the process that goes on loads it.
const [{ processIo }, { run }] = await Promise.all([import("./process_io.js"), import("./run.js")]);

const interrupted = new AbortController();
process.on("SIGINT", () => {
  // A second Ctrl-C ends at once whatever still hangs.
  if (interrupted.signal.aborted) process.exit(130);
  interrupted.abort();
});
process.on("SIGTERM", () => interrupted.abort());

process.exitCode = await run(process.argv.slice(2), processIo(interrupted.signal));
// Whoever reads a pipe may be slow.
await Promise.all([process.stdout, process.stderr].map((stream) => new Promise((done) => stream.write("", done))));
setTimeout(() => process.exit(), LINGER_MS).unref();
