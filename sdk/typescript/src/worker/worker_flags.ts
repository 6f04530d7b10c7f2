/**
 * Flags of Node in every worker, whatever its runtime. V8 would let up to 48 MiB of garbage lie in the young generation of
 * each of a worker's two threads, which counts as memory of the function; half of it is enough to be as fast.
 *
 * Compiled code is cached for these flags only: deploy/worker/Dockerfile names them too.
 */
export const WORKER_FLAGS = ["--enable-source-maps", "--max-semi-space-size=8"] as const;

/** Variables of the server's environment that a worker gets where it is a process, and that its functions see. */
export const VISIBLE_VARIABLES: readonly string[] = [
  "PATH",
  "HOME",
  "LANG",
  "LC_ALL",
  "TZ",
  "TMPDIR",
  // Whose certificates are trusted, by Node, and by what functions start.
  "NODE_EXTRA_CA_CERTS",
  "SSL_CERT_FILE",
  "SSL_CERT_DIR",
];

/** What the standard error of a worker says of its end, if that was for want of memory. */
export function ranOutOfMemory(lastLines: readonly string[]): boolean {
  return lastLines.some(
    (line) => line.includes("heap out of memory") || line.startsWith("multinode worker: OutOfMemory"),
  );
}
