import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { DriverToolkitImages } from '../../../../src/controller/observe/cluster/driver-toolkit-images.ts';
import type { ApiClient } from '../../../../src/controller/runtime/api/client.ts';
import { silentLogger } from '../../../../src/shared/logger.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../../../support/api-server.ts';
import { describeWith } from '../../../support/programs.ts';
import { installDefinitions } from '../../../support/custom-resources.ts';
import { createNamespace } from '../../module/cluster-objects.ts';

const imageStreams = {
  group: 'image.openshift.io',
  version: 'v1',
  plural: 'imagestreams',
  kind: 'ImageStream',
  namespaced: true,
};

/** ImageStreams as far as the API server has to know them to store them. */
const definition = {
  metadata: { name: 'imagestreams.image.openshift.io' },
  spec: {
    group: 'image.openshift.io',
    scope: 'Namespaced',
    names: { plural: 'imagestreams', singular: 'imagestream', kind: 'ImageStream' },
    versions: [
      {
        name: 'v1',
        served: true,
        storage: true,
        schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
      },
    ],
  },
};

/** The ImageStream with some tags. */
function stream(...names: string[]) {
  const tags = names.map((name) => ({
    name,
    from: { kind: 'DockerImage', name: `quay.example/toolkit:${name}` },
  }));
  return { metadata: { namespace: 'openshift', name: 'driver-toolkit' }, spec: { tags } };
}

describeWith(apiServerPrograms, 'Driver Toolkit images', () => {
  let api: ApiServer;
  let client: ApiClient;
  const stop = new AbortController();
  beforeAll(async () => {
    api = await startApiServer();
    client = await api.client();
  });
  afterAll(async () => {
    stop.abort();
    await api[Symbol.asyncDispose]();
  });

  function follow(configured: Record<string, string>) {
    const images = new DriverToolkitImages(client, silentLogger, new Map(Object.entries(configured)));
    return { images, done: images.run(stop.signal) };
  }

  it('are those of the configuration on a cluster without ImageStreams', async () => {
    const { images, done } = follow({ '6.1.0': 'registry.example/toolkit:6.1.0' });
    await done;
    expect([...images.table()]).toEqual([['6.1.0', 'registry.example/toolkit:6.1.0']]);
  });

  it('are those of the ImageStream too, and follow it', async () => {
    await installDefinitions(client, [definition]);
    await createNamespace(client, 'openshift');
    const { images } = follow({ '6.1.0': 'registry.example/toolkit:6.1.0' });
    const changed = vi.fn<() => void>();
    images.onChange(changed);
    await client.apply(imageStreams, stream('latest', '412.86.202302211547-0'), { force: true });
    await vi.waitFor(() => expect(changed).toHaveBeenCalled(), 20_000);
    expect(Object.fromEntries(images.table())).toEqual({
      '412.86.202302211547-0': 'quay.example/toolkit:412.86.202302211547-0',
      '6.1.0': 'registry.example/toolkit:6.1.0',
    });
    await client.apply(imageStreams, stream('413.1.1-0'), { force: true });
    await vi.waitFor(() => expect([...images.table().keys()]).toContain('413.1.1-0'), 20_000);
    expect(images.table().has('412.86.202302211547-0')).toBe(false);
  });
});
