// Bundles the worker program. A worker boots for nearly every execution, so what counts is how little of it is read and run
// before user code is: all is in few files instead of packages, the entry starts the other thread before it loads the rest,
// and what few functions need comes when they call for it. CommonJS, since an ES module that imports a module of Node runs
// every lazy part of that, and a thread takes 10 ms to be ready for ES modules.
import { createRequire } from "node:module";
import { join } from "node:path";
import { build } from "esbuild";

const HERE = "const __worker_url=require('node:url').pathToFileURL(__filename).href;";

/**
 * Writes worker.cjs, the entry, and worker_runner.cjs, worker_supervisor.cjs and worker_grpc.cjs, which are to lie beside it.
 *
 * @param {{ source: string, outdir: string }} folders `source` is that of the SDK
 */
export async function buildWorker({ source, outdir }) {
  const common = {
    outdir,
    outExtension: { ".js": ".cjs" },
    bundle: true,
    platform: "node",
    target: "node22.13",
    format: "cjs",
    // Errors are told apart, and shown to people, by the names of their classes.
    keepNames: true,
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: "none",
    logLevel: "warning",
  };
  const entry = {
    entryPoints: { worker: join(source, "worker/main.ts") },
    banner: { js: HERE },
    define: { "import.meta.url": "__worker_url" },
    supported: { "dynamic-import": false },
    plugins: [besideIt(/\/start_runner\.js$/, "./worker_runner.cjs")],
  };
  const runner = {
    entryPoints: { worker_runner: join(source, "worker/start_runner.ts") },
    plugins: [atFirstUse("nice-grpc", ["createChannel", "createClientFactory"], "./worker_grpc.cjs"), ...lateModules],
  };
  const supervisor = { entryPoints: { worker_supervisor: join(source, "worker/supervisor.ts") }, plugins: lateModules };
  const grpc = { stdin: { contents: 'export * from "nice-grpc";', resolveDir: source }, outdir: undefined };
  await Promise.all([
    ...[entry, runner, supervisor].map((options) => build({ ...common, ...options })),
    build({ ...common, ...grpc, outExtension: undefined, outfile: join(outdir, "worker_grpc.cjs") }),
  ]);
}

/**
 * What a worker needs only to fetch and unpack code, or to call other functions. Each of Node's own modules is some ten others, and
 * together they are a third of what a thread loads.
 */
const lateModules = ["node:crypto", "node:zlib", "node:fs/promises"].map((name) =>
  atFirstUse(name, Object.keys(createRequire(import.meta.url)(name)), name),
);

/** What is imported by this path is another file of the bundle. */
function besideIt(filter, path) {
  return { name: path, setup: ({ onResolve }) => onResolve({ filter }, () => ({ path, external: true })) };
}

/** These functions of a package are in another file, which is loaded when one of them is called. */
function atFirstUse(name, functions, path) {
  const stubs = functions.map((each) => `export const ${each} = (...args) => require("${path}").${each}(...args);`);
  return {
    name: path,
    setup({ onResolve, onLoad }) {
      // From a stub, it is the file itself.
      const isStub = ({ namespace }) => namespace === path;
      onResolve({ filter: new RegExp(`^(${name}|${path})$`) }, (args) =>
        isStub(args) ? { path, external: true } : { path: name, namespace: path },
      );
      onLoad({ filter: /./, namespace: path }, () => ({ contents: stubs.join("\n") }));
    },
  };
}
