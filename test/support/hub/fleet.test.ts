import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { configMaps, type CustomResource } from '../../../src/controller/observe/cluster/resources.ts';
import { manifestWorks } from '../../../src/controller/hub/fleet/manifest-works.ts';
import { describeWith } from '../programs.ts';
import { fleetPrograms, spokeName, startFleet, type Fleet } from './fleet.ts';

const eventually = { timeout: 60_000, interval: 200 };

describeWith(fleetPrograms, 'the work agent between a hub and a spoke', () => {
  let fleet: Fleet;
  beforeAll(async () => {
    fleet = await startFleet();
  }, 240_000);
  afterAll(async () => fleet?.[Symbol.asyncDispose]());

  const key = { namespace: 'default', name: 'greeting' };
  const work: CustomResource = {
    metadata: { namespace: spokeName, name: 'greeting' },
    spec: {
      workload: {
        manifests: [{ apiVersion: 'v1', kind: 'ConfigMap', metadata: key, data: { text: 'hello' } }],
      },
      manifestConfigs: [
        {
          resourceIdentifier: { group: '', resource: 'configmaps', ...key },
          feedbackRules: [{ type: 'JSONPaths', jsonPaths: [{ name: 'text', path: '.data.text' }] }],
        },
      ],
    },
  };

  it('makes what a ManifestWork holds, tells the hub of it, and removes it again', async () => {
    await fleet.hubClient.create(manifestWorks, work);
    await vi.waitFor(async () => {
      expect((await fleet.spokeClient.get(configMaps, key)).data).toEqual({ text: 'hello' });
    }, eventually);
    await vi.waitFor(async () => {
      const { status } = await fleet.hubClient.get(manifestWorks, work.metadata);
      expect(status).toMatchObject({
        resourceStatus: {
          manifests: [
            {
              statusFeedback: { values: [{ name: 'text', fieldValue: { type: 'String', string: 'hello' } }] },
            },
          ],
        },
      });
    }, eventually);
    await fleet.hubClient.delete(manifestWorks, work.metadata);
    await vi.waitFor(async () => {
      const error: unknown = await fleet.spokeClient.get(configMaps, key).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'NOT_FOUND' });
    }, eventually);
  });

  it('catches up after it was away', async () => {
    await fleet.stopAgent();
    await fleet.hubClient.create(manifestWorks, work);
    await fleet.startAgent();
    await expect
      .poll(async () => fleet.spokeClient.get(configMaps, key).catch(() => undefined), eventually)
      .toMatchObject({ data: { text: 'hello' } });
  });
});
