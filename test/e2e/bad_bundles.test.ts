/** Archives that UploadBundle refuses, each with what is wrong, and that nothing of them is kept. */
import { createHash } from "node:crypto";
import { type Zippable, zipSync } from "fflate";
import { expect, it } from "vitest";
import {
  RegistryServiceDefinition,
  UploadBundleResponse,
} from "../../gen/multinode/registry/v1/registry_service.pb.js";
import { badFields, type Outcome, summary } from "../harness/raw_call.js";
import { openScene } from "./bad_requests.js";

const REGISTRY = RegistryServiceDefinition;
const { uploadBundle, createVersion } = REGISTRY.methods;
const MIB = 1024 ** 2;
const UNIX = 3;
const SYMLINK = 0o120777;
const FIFO = 0o010644;

const scene = openScene();

const text = (content: string): Uint8Array => new TextEncoder().encode(content);
const zip = (files: Zippable): Uint8Array => zipSync(files, { mtime: new Date(1980, 0, 1) });
const digestOf = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");

/** In chunks of 1 MiB, the digest in the first message. */
async function upload(bytes: Uint8Array, digest = digestOf(bytes)): Promise<Outcome> {
  const messages: object[] = [];
  for (let start = 0; start < bytes.length || start === 0; start += MIB) {
    messages.push({ digest: start === 0 ? digest : "", chunk: Buffer.from(bytes.subarray(start, start + MIB)) });
  }
  return await scene.send(REGISTRY, uploadBundle, messages);
}

/** Two entries of the same name, which no tool writes. */
function twice(): Uint8Array {
  const archive = zip({ ab: text("1"), ac: text("2") });
  for (let at = 0; at + 1 < archive.length; at += 1) {
    if (archive[at] === 0x61 && archive[at + 1] === 0x63) archive[at + 1] = 0x62;
  }
  return archive;
}

/** The one entry says that it unpacks to less than it does, or to more. */
function saying(unpackedBytes: number): Uint8Array {
  const archive = zip({ "main.mjs": [new Uint8Array(1_000), { level: 9 }] });
  const view = new DataView(archive.buffer, archive.byteOffset);
  const directoryStart = view.getUint32(archive.length - 6, true);
  view.setUint32(directoryStart + 24, unpackedBytes, true);
  return archive;
}

const BAD_ARCHIVES: Readonly<Record<string, readonly [archive: () => Uint8Array, message: string]>> = {
  "no bytes": [() => new Uint8Array(), "the archive is not a whole zip file"],
  "not a zip file": [() => text("#!/bin/sh\nrm -rf /"), "the archive is not a whole zip file"],
  "half a zip file": [() => zip({ "main.mjs": text("export {}") }).slice(0, 40), "the archive is not a whole zip file"],
  "a path above": [() => zip({ "../evil": text("x") }), 'the path "../evil" would be written outside of the folder'],
  "a path that climbs later": [
    () => zip({ "a/../../evil": text("x") }),
    'the path "a/../../evil" would be written outside of the folder',
  ],
  "an absolute path": [
    () => zip({ "/etc/passwd": text("x") }),
    'the path "/etc/passwd" would be written outside of the folder',
  ],
  "a path of Windows": [
    () => zip({ "C:\\evil": text("x") }),
    'the path "C:\\\\evil" would be written outside of the folder',
  ],
  "a path with NUL": [() => zip({ "a\0b": text("x") }), 'the path "a\\u0000b" would be written outside of the folder'],
  "a symbolic link": [
    () => zip({ link: [text("/etc/passwd"), { os: UNIX, attrs: (SYMLINK << 16) >>> 0 }] }),
    '"link" is a link or another special file; only files and folders are allowed',
  ],
  "a named pipe": [
    () => zip({ pipe: [text(""), { os: UNIX, attrs: (FIFO << 16) >>> 0 }] }),
    '"pipe" is a link or another special file; only files and folders are allowed',
  ],
  "a path twice": [twice, '"ab" is there twice'],
  "a file below a file": [() => zip({ a: text("1"), "a/b": text("2") }), '"a" is a file and a folder at once'],
  "a bomb": [
    () => zip({ a: [new Uint8Array(17 * MIB), { level: 9 }] }),
    "the archive unpacks to more than 100 times its size",
  ],
  "a promise of 4 GiB": [
    () => saying(0xfffffffe),
    "the archive unpacks to 4294967294 bytes; the limit is 524288000 bytes",
  ],
  "20,001 files": [
    () =>
      zip(
        Object.fromEntries(
          Array.from({ length: 20_001 }, (_, index) => [`f${index}`, [new Uint8Array(), { level: 0 }]]),
        ),
      ),
    "the archive has 20001 entries; the limit is 20000",
  ],
};

it("refuses bad archives, each with what is wrong", async () => {
  const expected: Record<string, string> = {};
  const actual: Record<string, string> = {};
  for (const [name, [archive, message]] of Object.entries(BAD_ARCHIVES)) {
    const bytes = archive();
    const outcome = await upload(bytes);
    expected[name] = `INVALID_ARGUMENT BundleIsInvalid: ${message}`;
    actual[name] = `${summary(outcome)}: ${outcome.message}`;
    const source = { $case: "bundle", value: { digest: digestOf(bytes) } };
    const version = { projectName: "p", code: { source }, functions: [{ functionName: "f" }] };
    const use = summary(await scene.send(REGISTRY, createVersion, version));
    expect(use).toBe(`NOT_FOUND BundleDoesNotExist digest=${digestOf(bytes)}`);
  }
  expect(actual).toEqual(expected);
  expect(await scene.goodCall()).toBe("OK");
});

it("refuses bad messages of an upload", async () => {
  const archive = zip({ "main.mjs": text(`export const id = "${crypto.randomUUID()}"`) });
  const chunk = Buffer.from(archive);
  const rule = "is not a SHA-256: 64 lower-case hexadecimal digits";
  const wrong = digestOf(text("another"));
  const send = async (messages: object[]) => summary(await scene.send(REGISTRY, uploadBundle, messages));

  expect(await send([])).toBe(badFields("digest: is required"));
  expect(await send([{}])).toBe(badFields(`digest: "" ${rule}`));
  expect(await send([{ digest: "../../x", chunk }])).toBe(badFields(`digest: "../../x" ${rule}`));
  expect(await send([{ chunk }, { digest: digestOf(archive) }])).toBe(badFields(`digest: "" ${rule}`));
  expect(await send([{ digest: digestOf(archive), chunk: Buffer.alloc(MIB + 1) }])).toBe(
    badFields("chunk: 1048577 bytes are more than 1048576"),
  );
  const mismatch = await upload(archive, wrong);
  expect(`${summary(mismatch)}: ${mismatch.message}`).toBe(
    `INVALID_ARGUMENT BundleIsInvalid: the archive has the digest ${digestOf(archive)}, not ${wrong}`,
  );
  expect(await scene.goodCall()).toBe("OK");
});

it("takes the good archive after all of that", async () => {
  const archive = zip({ "main.mjs": text(`export const id = "${crypto.randomUUID()}"`) });
  const outcome = await upload(archive);
  expect(summary(outcome)).toBe("OK");
  const { sizeBytes } = UploadBundleResponse.decode(outcome.responses[0] ?? new Uint8Array());
  expect(sizeBytes).toBe(archive.length);
});
