/**
 * A data folder belongs to one server at a time. The lock is one that the operating system gives back when the process
 * ends, however it ends: an exclusive transaction on a small database of its own.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";

const SQLITE_BUSY = 5;
/** The code of the error of a folder that another server holds. */
const DATA_FOLDER_IN_USE = "EDATAFOLDERINUSE";

export interface DataFolder {
  readonly path: string;
  release(): void;
}

/** @throws Error that names the holder, when another server holds the folder, or that says why it cannot be held. */
export function holdDataFolder(path: string, holder: string): DataFolder {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const holderFile = join(path, "held-by");
  const lock = new DatabaseSync(join(path, "lock.db"), { timeout: 0 });
  try {
    lock.exec("PRAGMA locking_mode=EXCLUSIVE; BEGIN EXCLUSIVE");
  } catch (error) {
    lock.close();
    if ((error as { errcode?: number }).errcode !== SQLITE_BUSY) {
      throw new Error(`the data folder ${path} cannot be locked: ${String(error)}`, { cause: error });
    }
    const message = `the data folder ${path} is in use by another server (${readHolder(holderFile)}): stop it, or choose another folder`;
    throw Object.assign(new Error(message), { code: DATA_FOLDER_IN_USE });
  }
  try {
    writeFileSync(holderFile, holder, { mode: 0o600 });
  } catch {
    // It is only told to those who find the folder held.
  }
  return {
    path,
    release: () => {
      lock.exec("ROLLBACK");
      lock.close();
    },
  };
}

function readHolder(file: string): string {
  try {
    return readFileSync(file, "utf8").trim();
  } catch {
    return "which has not said who it is";
  }
}
