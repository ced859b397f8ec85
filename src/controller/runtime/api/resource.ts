import type { KubernetesObject } from './object-key.ts';

/** A kind of object, as in its URLs. The type parameter is the type of its objects. */
export interface Resource<T extends KubernetesObject = KubernetesObject> {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly kind: string;
  readonly namespaced: boolean;
  /** Whether the API server leaves out all but the metadata of objects in its responses. @default false */
  readonly metadataOnly?: boolean | undefined;
  /** Carries only the type; never set. */
  readonly objectType?: T;
}

/** Returns the resource with only the metadata of its objects, in responses to reads and to writes. */
export function metadataOf<T extends KubernetesObject>({
  objectType: _type,
  ...resource
}: Resource<T>): Resource<Pick<T, 'metadata'>> {
  return { ...resource, metadataOnly: true };
}

/** What a request addresses within a resource. */
export interface ResourceLocation {
  readonly namespace?: string | undefined;
  readonly name?: string | undefined;
  /** For example `status`. */
  readonly subresource?: string | undefined;
}

/** Returns the `apiVersion` of a resource's objects. */
export function apiVersionOf({ group, version }: Resource): string {
  return group === '' ? version : `${group}/${version}`;
}

/** Returns the media type to request for objects, or for lists of them. */
export function acceptOf({ metadataOnly = false }: Resource, kind: 'object' | 'list'): string {
  if (!metadataOnly) return 'application/json';
  const type = kind === 'list' ? 'PartialObjectMetadataList' : 'PartialObjectMetadata';
  return `application/json;as=${type};g=meta.k8s.io;v=v1`;
}

/** Returns the URL path of a resource, object or subresource (Kubernetes API concepts, "Resource URIs"). */
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
