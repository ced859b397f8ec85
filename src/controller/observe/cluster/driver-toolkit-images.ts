import { driverToolkitTable, type DriverToolkitTable } from '../../../builder/driver-toolkit.ts';
import type { Logger } from '../../../shared/logger.ts';
import type { CustomResource } from './resources.ts';
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

/** The known Driver Toolkit images: those of the configuration and of OpenShift's ImageStream. */
export class DriverToolkitImages {
  readonly #client: ApiClient;
  readonly #configured: DriverToolkitTable;
  readonly #stream: Informer<CustomResource, DriverToolkitTable>;

  /** @param configured from the operator's configuration; these take precedence */
  constructor(client: ApiClient, log: Logger, configured: DriverToolkitTable) {
    this.#client = client;
    this.#configured = configured;
    this.#stream = new Informer({
      client,
      log,
      resource: imageStreams,
      selection: { namespace: streamKey.namespace, fieldSelector: `metadata.name=${streamKey.name}` },
      project: driverToolkitTable,
    });
  }

  /** Returns the images that are known now. */
  table(): DriverToolkitTable {
    return new Map([...(this.#stream.get(streamKey) ?? []), ...this.#configured]);
  }

  onChange(handler: () => void): void {
    this.#stream.onEvent(handler);
  }

  /** Follows the ImageStream until the signal is aborted, if the cluster serves ImageStreams. */
  async run(signal: AbortSignal): Promise<void> {
    if (await this.#isServed(signal)) await this.#stream.run(signal);
  }

  /**
   * Returns whether ImageStreams are served. Assumes so after any error but 404, since the watch retries.
   */
  async #isServed(signal: AbortSignal): Promise<boolean> {
    try {
      const { group, version } = imageStreams;
      await this.#client.request({ method: 'GET', path: `/apis/${group}/${version}`, signal });
      return true;
    } catch (error) {
      return !signal.aborted && !isApiError(error, 'NOT_FOUND');
    }
  }
}
