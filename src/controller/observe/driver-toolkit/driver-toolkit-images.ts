import { driverToolkitTable, type DriverToolkitTable } from '../../../builder/driver-toolkit.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { CustomResource } from '../cluster/resources.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { Informer } from '../../runtime/cache/informer.ts';
import { isApiError } from '../../runtime/api/errors.ts';
import type { Resource } from '../../runtime/api/resource.ts';

const imageStreams: Resource<CustomResource> = {
  group: 'image.openshift.io',
  version: 'v1',
  plural: 'imagestreams',
  kind: 'ImageStream',
  namespaced: true,
};

/** The ImageStream that lists OpenShift's Driver Toolkit images. */
const streamKey = { namespace: 'openshift', name: 'driver-toolkit' } as const;

export interface DriverToolkitImagesOptions {
  readonly client: ApiClient;
  readonly log: Logger;
  /** From the operator's configuration. These take precedence. */
  readonly configured: DriverToolkitTable;
}

/** The known Driver Toolkit images: those of the configuration and of OpenShift's ImageStream. */
export class DriverToolkitImages {
  readonly #options: DriverToolkitImagesOptions;
  readonly #stream: Informer<CustomResource, DriverToolkitTable>;

  constructor(options: DriverToolkitImagesOptions) {
    this.#options = options;
    this.#stream = new Informer({
      client: options.client,
      log: options.log,
      resource: imageStreams,
      selection: { namespace: streamKey.namespace, fieldSelector: `metadata.name=${streamKey.name}` },
      project: driverToolkitTable,
    });
  }

  /** Returns the images that are known now. */
  table(): DriverToolkitTable {
    return new Map([...(this.#stream.get(streamKey) ?? []), ...this.#options.configured]);
  }

  onChange(handler: () => void): void {
    this.#stream.onEvent(handler);
  }

  /** Follows the ImageStream until the signal is aborted, if the cluster serves ImageStreams. */
  async run(signal: AbortSignal): Promise<void> {
    if (await this.#isServed(signal)) await this.#stream.run(signal);
  }

  /**
   * Returns whether ImageStreams are served; yes after any error but 404, since the watch retries by itself.
   */
  async #isServed(signal: AbortSignal): Promise<boolean> {
    try {
      const { group, version } = imageStreams;
      await this.#options.client.request({ method: 'GET', path: `/apis/${group}/${version}`, signal });
      return true;
    } catch (error) {
      return !signal.aborted && !isApiError(error, 'NOT_FOUND');
    }
  }
}
