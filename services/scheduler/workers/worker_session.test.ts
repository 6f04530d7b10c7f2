import { expect, it } from "vitest";
import { WorkerSession } from "./worker_session.js";

const prepare = (digest: string) => ({ $case: "prepare", value: { digest } }) as const;

it("tells a worker that reads slowly all that it was told before the stream ends", async () => {
  const session = new WorkerSession();
  const stopping = new AbortController();
  const messages = session.messages(stopping.signal);
  expect(session.send(prepare("a"))).toBe(true);
  expect((await messages.next()).value?.commands).toEqual([{ command: prepare("a") }]);
  expect(session.send(prepare("b"))).toBe(true); // while the first is on its way
  stopping.abort();
  expect(session.send(prepare("c"))).toBe(false);
  expect((await messages.next()).value?.commands).toEqual([{ command: prepare("b") }]);
  expect((await messages.next()).done).toBe(true);
});
