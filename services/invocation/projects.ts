/** Projects by name, as the registry knows them. */
import type {
  CatalogServiceClient,
  ResolveProjectResponse,
} from "../../gen/multinode/registry/v1/catalog_service.pb.js";

export class Projects {
  readonly #catalog: Pick<CatalogServiceClient, "resolveProject">;

  constructor(catalog: Pick<CatalogServiceClient, "resolveProject">) {
    this.#catalog = catalog;
  }

  /** @throws Refusal ProjectDoesNotExist */
  async find(projectName: string, signal: AbortSignal): Promise<ResolveProjectResponse> {
    return await this.#catalog.resolveProject({ projectName }, { signal });
  }
}
