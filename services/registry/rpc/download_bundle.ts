import type {
  DownloadBundleRequest,
  DownloadBundleResponse,
} from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import { parse } from "../../platform/rpc/validation.js";
import type { RegistryContext } from "../context.js";
import { bundleRequest } from "../requests.js";

export function downloadBundle({ bundles }: RegistryContext) {
  return async function* (request: DownloadBundleRequest): AsyncGenerator<DownloadBundleResponse> {
    const { digest } = parse(bundleRequest, request);
    for await (const chunk of bundles.read(digest)) yield { chunk };
  };
}
