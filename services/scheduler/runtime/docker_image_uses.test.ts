import { expect, it } from "vitest";
import { ImageUses } from "./docker_image_uses.js";

/** Works that note when they begin, and end when they are told. */
function setUp() {
  const uses = new ImageUses();
  const seen: string[] = [];
  const begin = (kind: "use" | "remove", name: string) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const work = async () => {
      seen.push(name);
      await promise;
    };
    const done = kind === "use" ? uses.use(work) : uses.remove(work);
    return { end: resolve, fail: reject, done };
  };
  return { seen, begin };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

it("lets uses go side by side, and removes when they are over", async () => {
  const { seen, begin } = setUp();
  const [first, second] = [begin("use", "first"), begin("use", "second")];
  const removal = begin("remove", "removal");
  await turn();
  expect(seen).toEqual(["first", "second"]);
  first.end();
  await turn();
  const third = begin("use", "third"); // does not wait behind a removal that waits
  second.end();
  await turn();
  expect(seen).toEqual(["first", "second", "third"]);
  third.end();
  await turn();
  expect(seen.at(-1)).toBe("removal");
  removal.end();
  await removal.done;
});

it("lets nothing be used while it removes, and goes on after works that failed", async () => {
  const { seen, begin } = setUp();
  const removal = begin("remove", "removal");
  const [first, second] = [begin("use", "first"), begin("use", "second")];
  await turn();
  expect(seen).toEqual(["removal"]);
  removal.fail(new Error("no"));
  await expect(removal.done).rejects.toThrow("no");
  await turn();
  expect(seen).toEqual(["removal", "first", "second"]);
  first.fail(new Error("no use"));
  await expect(first.done).rejects.toThrow("no use");
  second.end();
  const again = begin("remove", "again");
  await turn();
  expect(seen.at(-1)).toBe("again");
  again.end();
  await again.done;
});
