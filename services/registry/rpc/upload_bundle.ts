import type {
  UploadBundleRequest,
  UploadBundleResponse,
} from "../../../gen/multinode/registry/v1/registry_service.pb.js";
import { parse } from "../../platform/rpc/validation.js";
import type { RegistryContext } from "../context.js";
import { bundleRequest, uploadChunk } from "../requests.js";

export function uploadBundle({ bundles }: RegistryContext) {
  return async (requests: AsyncIterable<UploadBundleRequest>): Promise<UploadBundleResponse> => {
    const iterator = requests[Symbol.asyncIterator]();
    try {
      const first = await iterator.next();
      const { digest } = parse(bundleRequest, first.done === true ? {} : first.value);
      const size = (await bundles.keep(digest)) ?? (await bundles.put(digest, chunksOf(first, iterator)));
      return { sizeBytes: size };
    } finally {
      await iterator.return?.();
    }
  };
}

async function* chunksOf(
  first: IteratorResult<UploadBundleRequest>,
  rest: AsyncIterator<UploadBundleRequest>,
): AsyncGenerator<Uint8Array> {
  for (let next = first; next.done !== true; next = await rest.next()) {
    yield parse(uploadChunk, next.value).chunk;
  }
}
