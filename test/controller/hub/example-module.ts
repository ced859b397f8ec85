import {
  parseManagedClusterModule,
  type ManagedClusterModule,
} from '../../../src/api/managed-cluster-module.ts';

/** A ManagedClusterModule with a moduleLoader's container, as the API server would give it. */
export function resource(container: object, spec: object = {}): ManagedClusterModule {
  return parseManagedClusterModule({
    apiVersion: 'hub.kmm.sigs.x-k8s.io/v1beta1',
    kind: 'ManagedClusterModule',
    metadata: { name: 'driver', uid: 'uid-of-driver', generation: 3 },
    spec: {
      spokeNamespace: 'drivers',
      selector: { driver: 'wanted' },
      moduleSpec: {
        selector: { 'node-role.kubernetes.io/worker': '' },
        moduleLoader: { container: { modprobe: { moduleName: 'driver' }, ...container } },
        ...spec,
      },
    },
  });
}

/** A digest that identifies a kernel's image. */
export function digest(character: string): string {
  return `sha256:${character.repeat(64)}`;
}
