import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { holdDataFolder } from "./data_folder.js";

let path: string;
let child: ChildProcess | undefined;

beforeEach(async () => {
  path = join(await mkdtemp(join(tmpdir(), "multinode-data-")), "data");
});
afterEach(async () => {
  child?.kill("SIGKILL");
  child = undefined;
  await rm(join(path, ".."), { recursive: true, force: true });
});

/** A process that holds the folder until it is ended. */
async function holder(name: string): Promise<ChildProcess> {
  const module = fileURLToPath(new URL("data_folder.ts", import.meta.url));
  const program = `
    import { holdDataFolder } from ${JSON.stringify(module)};
    const folder = holdDataFolder(${JSON.stringify(path)}, ${JSON.stringify(name)});
    console.log("held");
    setInterval(() => folder.path, 1_000);`;
  child = spawn(process.execPath, ["--experimental-strip-types", "--input-type=module", "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (child.stdout === null) throw new Error("the process has no output");
  await once(child.stdout, "data");
  return child;
}

describe("a data folder", () => {
  it("that cannot be locked is not said to be in use", async () => {
    await mkdir(path);
    await writeFile(join(path, "lock.db"), "no database ".repeat(100));
    const reason = /^the data folder .*data cannot be locked: Error: file is not a database$/;
    expect(() => holdDataFolder(path, "a server")).toThrow(reason);
  });

  it("is made where it is missing, for its owner only", async () => {
    const folder = holdDataFolder(path, "a server");
    expect(folder.path).toBe(path);
    expect((await stat(path)).mode & 0o077).toBe(0);
    folder.release();
  });

  it("belongs to one server at a time, and says to whom", () => {
    const folder = holdDataFolder(path, "process 17");
    expect(() => holdDataFolder(path, "process 18")).toThrow(/in use by another server \(process 17\)/);
    expect(() => holdDataFolder(path, "process 19")).toThrow(expect.objectContaining({ code: "EDATAFOLDERINUSE" }));
    folder.release();
    const next = holdDataFolder(path, "process 18");
    expect(() => holdDataFolder(path, "process 19")).toThrow(/process 18/);
    next.release();
  });

  it("is held against other processes, and given back however they end", async () => {
    const other = await holder("process of another");
    expect(() => holdDataFolder(path, "this one")).toThrow(/process of another/);
    other.kill("SIGKILL");
    await once(other, "exit");
    holdDataFolder(path, "this one").release();
  });
});
