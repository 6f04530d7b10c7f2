/** Images that tests build: a build ends when a test says how. */
import type { RuntimeImages } from "./runtime.js";

export interface FakeBuild {
  readonly contextDigest: string;
  readonly context: Uint8Array;
  readonly stop: AbortSignal;
  readonly print: (text: string) => void;
  readonly succeed: () => void;
  readonly fail: (error: Error) => void;
}

export class FakeImages implements RuntimeImages {
  /** Names of those that are there, by context. */
  readonly names = new Map<string, string>();
  /** All builds that were begun, oldest first. */
  readonly builds: FakeBuild[] = [];
  /** Thrown by look-ups, in place of an answer. */
  outage: Error | undefined;

  async find(contextDigest: string): Promise<string | undefined> {
    if (this.outage !== undefined) throw this.outage;
    return this.names.get(contextDigest);
  }

  async build(
    contextDigest: string,
    context: Uint8Array,
    print: (text: string) => void,
    stop: AbortSignal,
  ): Promise<string> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    stop.addEventListener("abort", () => reject(new Error("the build was ended")));
    const name = `image of ${contextDigest}`;
    this.builds.push({
      contextDigest,
      context,
      stop,
      print,
      fail: reject,
      succeed: () => {
        this.names.set(contextDigest, name);
        resolve(name);
      },
    });
    return await promise;
  }

  async removeUnused(findUsed: (contextDigests: readonly string[]) => Promise<ReadonlySet<string>>): Promise<void> {
    const used = await findUsed([...this.names.keys()]);
    for (const contextDigest of this.names.keys()) if (!used.has(contextDigest)) this.names.delete(contextDigest);
  }
}
