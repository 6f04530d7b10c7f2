import { expect, it } from "vitest";
import { Status } from "../../../gen/multinode/invocation/v1/invocation.pb.js";
import { openTestInvocations, reports } from "../test_invocation.js";

it("cancelling what has ended leaves its children running, also while its worker is still there", async () => {
  const test = await openTestInvocations();
  test.catalog.add("f");
  const parent = await test.start("f");
  const [leased] = await test.lease(test.ids.next("sch"), 1);
  if (leased === undefined) throw new Error("there was nothing to lease");
  const child = await test.start("f", { parentInvocationId: parent });
  await test.report(reports.started(leased), reports.returned(leased, 1));
  expect(await test.cancel(parent)).toMatchObject({ status: Status.SUCCEEDED, terminated: false });
  expect(await test.get(child)).toMatchObject({ status: Status.PENDING });
  await test.report(reports.released(leased));
  await expect(test.cancel(parent)).rejects.toMatchObject({ reason: "InvocationIsAlreadyTerminated" });
  expect(await test.get(child)).toMatchObject({ status: Status.PENDING });
  await test.close();
});
