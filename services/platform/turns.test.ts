import { expect, it, vi } from "vitest";
import { Turns } from "./turns.js";

const never = new AbortController().signal;

it("lets one at a time do it, in the order in which they asked, and others have their turn in between", async () => {
  const turns = new Turns(10, "listings");
  const done: string[] = [];
  let running = 0;
  const work = (name: string) => async () => {
    running += 1;
    expect(running).toBe(1);
    setImmediate(() => done.push("else"));
    await Promise.resolve();
    running -= 1;
    done.push(name);
    return name;
  };
  const all = ["a", "b", "c"].map((name) => turns.run(work(name), never));
  expect(await Promise.all(all)).toEqual(["a", "b", "c"]);
  expect(done.filter((name) => name !== "else")).toEqual(["a", "b", "c"]);
  expect(done.indexOf("else")).toBeLessThan(done.indexOf("b"));
});

it("refuses more than may wait, and goes on after what fails or is not wanted any more", async () => {
  const turns = new Turns(3, "listings");
  const gate = Promise.withResolvers<void>();
  const gone = new AbortController();
  const failing = turns.run(async () => {
    await gate.promise;
    throw new Error("boom");
  }, never);
  const work = vi.fn(async () => 1);
  const left = turns.run(work, gone.signal);
  const next = turns.run(async () => 2, never);
  await expect(turns.run(work, never)).rejects.toMatchObject({
    reason: "ResourceExhausted",
    message: "3 listings wait for their turn",
  });
  gone.abort(new Error("enough"));
  gate.resolve();
  await expect(failing).rejects.toThrow("boom");
  await expect(left).rejects.toThrow("enough");
  expect(await next).toBe(2);
  expect(work).not.toHaveBeenCalled();
  expect(await turns.run(async () => 3, never)).toBe(3);
});
