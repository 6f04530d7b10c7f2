let collect: (() => void) | undefined;

/** Collects the garbage of this thread, all of it, and gives back what it took. Loaded here: most workers never do it. */
export function collectGarbage(): void {
  collect ??= collector();
  collect();
}

function collector(): () => void {
  try {
    // It stays set, for both threads: to take it back would be to take it from the other one in the middle of this.
    process.getBuiltinModule("node:v8").setFlagsFromString("--expose-gc");
    const gc = process.getBuiltinModule("node:vm").runInNewContext("gc") as (options: object) => void;
    return () => gc({ type: "major", execution: "sync", flavor: "last-resort" });
  } catch {
    return () => {}; // another Node, in an image of the project's own, that cannot be asked
  }
}
