/** Small files that are there whole or not at all, at whatever moment the process dies or the disk is full. */
import { closeSync, fsyncSync, openSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** Writes a file that only its owner may read. What was there before stays until the new content is on the disk. */
export function writeWholeFile(path: string, content: string | Uint8Array): void {
  const unfinished = `${path}.new`;
  const fd = openSync(unfinished, "w", 0o600);
  try {
    writeFileSync(fd, content);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(unfinished, path);
  syncFolder(dirname(path));
}

/** The new name is on the disk, too; Windows has no way to ask for that. */
function syncFolder(path: string): void {
  if (process.platform === "win32") return;
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
