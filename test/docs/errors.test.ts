import { Status } from "nice-grpc-common";
import { expect, test } from "vitest";
import { REASON_STATUS } from "../../sdk/typescript/src/protocol/reasons.js";
import { readDocument } from "./documents.js";
import { tableRows } from "./tables.js";

test("docs/errors.md lists every reason with its code", () => {
  const rows = tableRows(readDocument("docs/errors.md").text, ["reason", "code"]);
  const codes = Object.entries(REASON_STATUS).map(([reason, status]) => [reason, Status[status]]);
  expect(Object.fromEntries(rows.map(([reason, code]) => [reason, code]))).toEqual(Object.fromEntries(codes));
});

test("docs/errors.md names the metadata that the contract names", () => {
  const contract = readDocument("proto/multinode/type/v1/error_reason.proto").text.replaceAll(/\n\s*\/\/ /g, " ");
  const rows = tableRows(readDocument("docs/errors.md").text, ["reason", "code"]);
  const missing = rows.flatMap(([reason = "", , , , metadata = ""]) => {
    const comment = contract.split(`"${reason}"`)[1]?.split("ERROR_REASON_")[0] ?? "";
    const keys = [...(comment.split("Metadata:")[1] ?? "").matchAll(/"(\w+)"/g)].map(([, key = ""]) => key);
    return keys.filter((key) => !metadata.includes(key)).map((key) => `${reason}: ${key}`);
  });
  expect(missing).toEqual([]);
});
