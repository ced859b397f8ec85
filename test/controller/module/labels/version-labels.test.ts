import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PodFacts } from '../../../../src/controller/observe/cluster/projections.ts';
import { labelChanges } from '../../../../src/controller/module/labels/label-changes.ts';
import { nextVersionChange } from '../../../../src/controller/module/labels/version-labels.ts';
import { indexOf, kernelKey, merge, pod, release } from './nodes-and-pods.ts';

const keys = {
  wanted: 'kmm.node.kubernetes.io/version-module.drivers.a',
  loader: 'beta.kmm.node.kubernetes.io/version-module-loader.drivers.a',
  plugin: 'beta.kmm.node.kubernetes.io/version-device-plugin.drivers.a',
};

interface Row {
  readonly wanted?: string;
  readonly loader?: string;
  readonly plugin?: string;
  readonly hasLoaderPod?: boolean;
  readonly hasPluginPod?: boolean;
}

function next({ wanted, loader, plugin, hasLoaderPod = false, hasPluginPod = false }: Row): string {
  const change = nextVersionChange({
    wanted,
    moduleLoader: loader,
    devicePlugin: plugin,
    hasModuleLoaderPod: hasLoaderPod,
    hasDevicePluginPod: hasPluginPod,
  });
  if (change === undefined) return 'none';
  const label = change.label === 'moduleLoaderVersion' ? 'loader' : 'plugin';
  return change.value === null ? `delete ${label}` : `add ${label}=${change.value}`;
}

describe('the next change of version labels', () => {
  it.each<[Row, string]>([
    [{}, 'none'],
    [{ loader: 'v1', plugin: 'v1' }, 'delete plugin'],
    [{ loader: 'v1' }, 'delete loader'],
    [{ wanted: 'v2' }, 'add loader=v2'],
    [{ wanted: 'v2', loader: 'v2' }, 'add plugin=v2'],
    [{ wanted: 'v2', loader: 'v2', plugin: 'v2' }, 'none'],
    [{ wanted: 'v2', loader: 'v1', plugin: 'v1' }, 'delete plugin'],
    [{ wanted: 'v2', loader: 'v1' }, 'delete loader'],
  ])("is KMM's for %j: %s", (row, expected) => {
    expect(next(row)).toBe(expected);
  });

  it.each<[Row, string]>([
    [{ plugin: 'v1' }, 'delete plugin'],
    [{ wanted: 'v2', plugin: 'v2' }, 'delete plugin'],
    [{ wanted: 'v2', plugin: 'v1' }, 'delete plugin'],
    [{ wanted: 'v2', loader: 'v1', plugin: 'v2' }, 'delete plugin'],
    [{ wanted: 'v2', loader: 'v2', plugin: 'v1' }, 'delete plugin'],
  ])('is a way out where KMM is stuck, for %j: %s', (row, expected) => {
    expect(next(row)).toBe(expected);
  });

  it.each<[Row, string]>([
    [{ loader: 'v1', hasPluginPod: true }, 'none'],
    [{ wanted: 'v2', loader: 'v1', hasPluginPod: true }, 'none'],
    [{ wanted: 'v2', hasLoaderPod: true }, 'none'],
    [{ wanted: 'v2', loader: 'v2', hasPluginPod: true }, 'none'],
    // What does not stand in the way is not waited for.
    [{ loader: 'v1', hasLoaderPod: true }, 'delete loader'],
    [{ loader: 'v1', plugin: 'v1', hasLoaderPod: true, hasPluginPod: true }, 'delete plugin'],
    [{ wanted: 'v2', hasPluginPod: true }, 'add loader=v2'],
    [{ wanted: 'v2', loader: 'v2', hasLoaderPod: true }, 'add plugin=v2'],
  ])('waits for the pods that have to go first, for %j: %s', (row, expected) => {
    expect(next(row)).toBe(expected);
  });
});

const versions = ['v1', 'v2'];
const version = fc.option(fc.constantFrom(...versions), { nil: undefined });

/** A node with pods, as DaemonSets of two versions of one Module keep it. */
interface World {
  labels: Record<string, string>;
  loaders: Set<string>;
  plugins: Set<string>;
}

/** The pods that the world has, as the cache shows them. */
function podsOf({ loaders, plugins }: World): PodFacts[] {
  return [
    ...Array.from(loaders, (of) => pod({ version: of })),
    ...Array.from(plugins, (of) => pod({ role: 'device-plugin', version: of })),
  ];
}

/** What DaemonSets do: pods are where the labels let them be, and nowhere else. */
function followLabels(world: World): void {
  const isReady = 'kmm.node.kubernetes.io/drivers.a.ready' in world.labels;
  const loader = world.labels[keys.loader];
  const plugin = world.labels[keys.plugin];
  world.loaders = new Set(versions.filter((of) => of === loader));
  world.plugins = new Set(versions.filter((of) => of === plugin && isReady));
}

/** Pods that must be gone before the label of the module loader changes like this. */
function podsInTheWay({ loaders, plugins }: World, change: string | null | undefined): number {
  if (change === undefined) return 0;
  return change === null ? plugins.size : loaders.size;
}

describe('repeated changes', () => {
  it('lead from every state to the version that is wanted, in order, and then stop', () => {
    const start = fc.record({
      wanted: version,
      loader: version,
      plugin: version,
      isReady: fc.boolean(),
      loaders: fc.uniqueArray(fc.constantFrom(...versions)),
      plugins: fc.uniqueArray(fc.constantFrom(...versions)),
      // In which rounds the DaemonSets get to do something.
      follows: fc.array(fc.boolean(), { maxLength: 12 }),
    });
    fc.assert(
      fc.property(start, ({ wanted, loader, plugin, isReady, loaders, plugins, follows }) => {
        const world: World = {
          labels: merge(
            {},
            {
              [keys.wanted]: wanted ?? null,
              [keys.loader]: loader ?? null,
              [keys.plugin]: plugin ?? null,
              'kmm.node.kubernetes.io/drivers.a.ready': isReady ? '' : null,
            },
          ),
          loaders: new Set(loaders),
          plugins: new Set(plugins),
        };
        for (const follow of [...follows, ...Array.from({ length: 12 }, () => true)]) {
          const { labels } = labelChanges({
            node: { labels: world.labels, kernelRelease: release },
            pods: podsOf(world),
            modules: indexOf('drivers/a'),
          });
          const changed = [keys.loader, keys.plugin].filter((key) => key in labels);
          expect(changed.length).toBeLessThanOrEqual(1);
          expect(keys.wanted in labels).toBe(false);
          expect(podsInTheWay(world, labels[keys.loader])).toBe(0);
          world.labels = merge(world.labels, labels);
          if (follow) followLabels(world);
        }
        const expected = {
          [kernelKey]: release,
          ...(wanted === undefined
            ? {}
            : {
                [keys.wanted]: wanted,
                [keys.loader]: wanted,
                [keys.plugin]: wanted,
                'kmm.node.kubernetes.io/drivers.a.ready': '',
                'kmm.node.kubernetes.io/drivers.a.version.ready': wanted,
                'kmm.node.kubernetes.io/drivers.a.device-plugin-ready': '',
              }),
        };
        expect(world.labels).toEqual(expected);
      }),
      { numRuns: 1000 },
    );
  });
});
