/** What main may be written as. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Files } from "../harness/connected_target.js";
import { openTarget, type Target } from "../harness/target.js";

let target: Target;
beforeAll(() => {
  target = openTarget();
});
afterAll(() => target.close());

const COMMON_JS: Files = { "package.json": '{"name":"tasks"}' };
const FUNCTION = "mn.function((x) => x + 1)";
const REQUIRED = 'const { Multinode } = require("multinode"); const mn = new Multinode();';

test.concurrent.each<[string, Files]>([
  ["module.exports", { ...COMMON_JS, "main.js": `${REQUIRED} module.exports = { mn, f: ${FUNCTION} };` }],
  ["exports.name", { ...COMMON_JS, "main.js": `${REQUIRED} exports.mn = mn; exports.f = ${FUNCTION};` }],
  [
    "export = in TypeScript",
    {
      ...COMMON_JS,
      "main.ts": `import { Multinode } from "multinode"; const mn = new Multinode();
        export = { mn, f: mn.function((x: number) => x + 1) };`,
    },
  ],
  [
    "export default",
    {
      "main.js": `import { Multinode } from "multinode"; const mn = new Multinode(); export default { mn, f: ${FUNCTION} };`,
    },
  ],
])("the functions of a main with %s are found, and run", async (_what, files) => {
  const project = await target.deploy(files);
  expect(await project.fn("f").callRemote(1)).toBe(2);
});
