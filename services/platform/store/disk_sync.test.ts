import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DiskSync } from "./disk_sync.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "multinode-disk-sync-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

describe("DiskSync", () => {
  it("is shared by those who ask before it begins, and not by one who asks later (Y1)", async () => {
    const file = join(folder, "file");
    await writeFile(file, "x");
    const disk = new DiskSync(file);
    const first = disk.sync();
    expect(disk.sync()).toBe(first);
    await first;
    const second = disk.sync();
    expect(second).not.toBe(first);
    await second;
    await disk.close();
  });

  it("lets go first what is to be done at once (Y2)", async () => {
    const file = join(folder, "file");
    await writeFile(file, "x");
    const disk = new DiskSync(file);
    await disk.sync();
    const order: string[] = [];
    const synced = disk.sync().then(() => order.push("synced"));
    setImmediate(() => order.push("at once"));
    await synced;
    expect(order).toEqual(["at once", "synced"]);
    await disk.close();
  });

  it("fails for ever once it has failed (Y4)", async () => {
    const file = join(folder, "missing");
    const disk = new DiskSync(file);
    await expect(disk.sync()).rejects.toThrow("ENOENT");
    await writeFile(file, "x");
    await expect(disk.sync()).rejects.toThrow("ENOENT");
    await disk.close();
  });
});
