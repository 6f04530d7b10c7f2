/** Packages that a bundle alone does not do for. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { openTarget, type Target } from "../harness/target.js";

let target: Target;
beforeAll(() => {
  target = openTarget();
});
afterAll(() => target.close());

test("a package that starts a thread from a file of its own runs in a worker", async () => {
  const project = await target.deploy({
    "main.ts": `
      import { once } from "node:events";
      import { mkdtemp, readFile } from "node:fs/promises";
      import { tmpdir } from "node:os";
      import { join } from "node:path";
      import { Multinode } from "multinode";
      import { pino } from "pino";
      export const mn = new Multinode();
      export const logged = mn.function(async (text: string) => {
        const destination = join(await mkdtemp(join(tmpdir(), "multinode-log-")), "log");
        const transport = pino.transport({ target: "pino/file", options: { destination } });
        pino(transport).info(text);
        transport.end();
        await once(transport, "close");
        return JSON.parse(await readFile(destination, "utf8")).msg;
      });
    `,
  });
  expect(await project.fn("logged").callRemote("from a thread")).toBe("from a thread");
});
