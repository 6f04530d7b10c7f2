/** What an engine builds of: the checked files of an archive, as a tar stream. */
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { pack } from "tar-stream";
import { readArchive } from "../../../sdk/typescript/src/bundle/unpack.js";

const DOCKERFILE = "Dockerfile";
const FILE_MODE = 0o644;
const EXECUTABLE_MODE = 0o755;
/** The same for all, so that the engine knows files again that have not changed. */
const MODIFIED = new Date(0);

export interface BuildContext {
  readonly tar: Readable;
  /** Text of the Dockerfile; empty: there is none, which the engine says. */
  readonly dockerfile: string;
}

/** @throws ArchiveIsInvalidError here or, where a file is damaged, as an error of the stream */
export async function buildContext(archive: Uint8Array): Promise<BuildContext> {
  const files = readArchive(archive);
  const dockerfile = await files.find(({ path }) => path === DOCKERFILE)?.read();
  const tar = pack();
  const fill = async () => {
    for (const { path, isExecutable, read } of files) {
      const content = Buffer.from(await read());
      const mode = isExecutable ? EXECUTABLE_MODE : FILE_MODE;
      const entry = tar.entry({ name: path, mode, mtime: MODIFIED, size: content.byteLength });
      await pipeline(Readable.from([content]), entry as unknown as NodeJS.WritableStream);
    }
    tar.finalize();
  };
  fill().catch((error: unknown) => tar.destroy(error as Error));
  return { tar: tar as unknown as Readable, dockerfile: Buffer.from(dockerfile ?? []).toString() };
}

export function textContext(dockerfile: string): Readable {
  const tar = pack();
  tar.entry({ name: DOCKERFILE, mtime: MODIFIED }, dockerfile);
  tar.finalize();
  return tar as unknown as Readable;
}
