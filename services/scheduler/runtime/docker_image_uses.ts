/**
 * Keeps removals of images apart from what needs them. The engine takes unnamed layers along with an image that it removes,
 * also those that a build has just found and is about to go on from.
 *
 * U1. A removal waits until nothing uses images, and uses wait only for the one removal that is under way.
 */
export class ImageUses {
  #uses = 0;
  #unused = Promise.withResolvers<void>();
  #removal: Promise<void> | undefined;

  /** Looks for an image, or builds one. */
  async use<T>(work: () => Promise<T>): Promise<T> {
    while (this.#removal !== undefined) await this.#removal;
    this.#uses += 1;
    try {
      return await work();
    } finally {
      this.#uses -= 1;
      if (this.#uses === 0) {
        this.#unused.resolve();
        this.#unused = Promise.withResolvers();
      }
    }
  }

  /** Decides on one image, and removes it. One at a time. */
  async remove(work: () => Promise<void>): Promise<void> {
    while (this.#uses > 0) await this.#unused.promise;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#removal = promise;
    try {
      await work();
    } finally {
      this.#removal = undefined;
      resolve();
    }
  }
}
