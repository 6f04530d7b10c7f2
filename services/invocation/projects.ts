/** Projects by name, as the registry knows them. */
import type { CatalogServiceClient } from "../../gen/multinode/registry/v1/catalog_service.pb.js";

export class Projects {
  readonly #catalog: Pick<CatalogServiceClient, "resolveProject">;

  constructor(catalog: Pick<CatalogServiceClient, "resolveProject">) {
    this.#catalog = catalog;
  }

  /** @throws Refusal ProjectDoesNotExist */
  async idOf(projectName: string, signal: AbortSignal): Promise<string> {
    const { projectId } = await this.#catalog.resolveProject({ projectName }, { signal });
    return projectId;
  }
}
