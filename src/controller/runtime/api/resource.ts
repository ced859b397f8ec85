import type { KubernetesObject } from './object-key.ts';

/** A kind of object, as its URLs name it. The type parameter is what the API server gives for it. */
export interface Resource<T extends KubernetesObject = KubernetesObject> {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Holds the type only; never set. */
  readonly objectType?: T;
}

/** Where in a resource a request goes. */
export interface ResourceLocation {
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  /** For example `status`. */
  readonly subresource?: string | undefined;
}

/** The `apiVersion` of a resource's objects. */
export function apiVersionOf({ group, version }: Resource): string {
  return group === '' ? version : `${group}/${version}`;
}

/** The URL path of a resource, an object or a subresource (Kubernetes API concepts, "Resource URIs"). */
export function pathOf(resource: Resource, location: ResourceLocation = {}): string {
  const { namespace, name, subresource } = location;
  const segments = [
    ...(resource.group === '' ? ['api'] : ['apis', resource.group]),
    resource.version,
    ...(resource.namespaced && namespace !== undefined ? ['namespaces', namespace] : []),
    resource.plural,
    ...(name === undefined ? [] : [name]),
    ...(subresource === undefined ? [] : [subresource]),
  ];
  return `/${segments.map(encodeURIComponent).join('/')}`;
}
