/** Files that are there whole or not at all, at whatever moment the process dies or the disk is full. */
import { existsSync } from "node:fs";
import { open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";

/** Writes a file that only its owner may read. What was there before stays until the new content is on the disk. */
export async function writeWholeFile(path: string, content: string | Uint8Array): Promise<void> {
  const unfinished = `${path}.new`;
  const file = await open(unfinished, "w", 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(unfinished, path);
  await syncFolder(dirname(path));
}

/** What a file holds. It is made with what `make` answers where there is none. */
export async function keptFile(path: string, make: () => string | Uint8Array): Promise<Buffer> {
  if (!existsSync(path)) await writeWholeFile(path, make());
  return await readFile(path);
}

/** The new names in it are on the disk, too; Windows has no way to ask for that. */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}
