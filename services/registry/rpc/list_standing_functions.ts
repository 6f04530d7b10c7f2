import type {
  ListStandingFunctionsRequest,
  ListStandingFunctionsResponse,
} from "../../../gen/multinode/registry/v1/catalog_service.pb.js";
import type { RegistryContext } from "../context.js";

export function listStandingFunctions({ store }: RegistryContext) {
  return async (_request: ListStandingFunctionsRequest): Promise<ListStandingFunctionsResponse> => {
    const functions = await store.listStandingFunctions();
    return {
      functions: functions.map(({ spec, ...where }) => ({
        ...where,
        // Schemas matter where invocations are stored, and would make the message too large.
        function: { ...spec, inputSchema: "", outputSchema: "" },
      })),
    };
  };
}
