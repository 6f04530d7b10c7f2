/** Project folders for tests, in the folder for temporary files. */
import { mkdir, mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

export interface TestProject extends AsyncDisposable {
  readonly directory: string;
}

/** Makes a folder with these files; a value that is not a text is written as JSON. */
export async function makeProject(files: Readonly<Record<string, unknown>>): Promise<TestProject> {
  const directory = await realpath(await mkdtemp(join(tmpdir(), "multinode-test-")));
  for (const [path, content] of Object.entries(files)) {
    const target = join(directory, path);
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, typeof content === "string" ? content : JSON.stringify(content));
  }
  return {
    directory,
    [Symbol.asyncDispose]: () => rm(directory, { recursive: true, force: true }),
  };
}
