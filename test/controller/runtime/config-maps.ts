import type { KubernetesObject } from '../../../src/controller/runtime/api/object-key.ts';
import type { Resource } from '../../../src/controller/runtime/api/resource.ts';

export interface ConfigMap extends KubernetesObject {
  readonly data?: Readonly<Record<string, string>>;
}

export const configMaps: Resource<ConfigMap> = {
  group: '',
  version: 'v1',
  plural: 'configmaps',
  kind: 'ConfigMap',
  namespaced: true,
};

export function configMap(name: string, value: string, namespace = 'default'): ConfigMap {
  return { metadata: { namespace, name }, data: { value } };
}
