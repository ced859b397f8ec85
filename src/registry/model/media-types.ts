import type { ManifestFamily } from './manifest.ts';

/** How a layer is compressed, as detected from its first bytes, never from its media type. */
export type LayerCompression = 'gzip' | 'zstd' | 'none';

/** Media types of the OCI image specification (media-types.md). */
export const ociMediaTypes = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layerTar: 'application/vnd.oci.image.layer.v1.tar',
  layerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  layerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
} as const;

/** Media types of Docker's image manifest version 2, schema 2. */
export const dockerMediaTypes = {
  manifest: 'application/vnd.docker.distribution.manifest.v2+json',
  index: 'application/vnd.docker.distribution.manifest.list.v2+json',
  config: 'application/vnd.docker.container.image.v1+json',
  layerTar: 'application/vnd.docker.image.rootfs.diff.tar',
  layerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  layerZstd: 'application/vnd.docker.image.rootfs.diff.tar.zstd',
  foreignLayerGzip: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
} as const;

const schema1MediaTypes: ReadonlySet<string> = new Set([
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
]);

const nonDistributableLayer =
  /^application\/vnd\.(?:oci\.image\.layer\.nondistributable\.v1\.tar|docker\.image\.rootfs\.foreign\.diff\.tar)(?:$|[+.])/;

const fileSystemLayer =
  /^application\/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar)(?:$|[+.])/;

/** The Accept header for manifest requests. */
export const manifestAccept: string = [
  ociMediaTypes.index,
  ociMediaTypes.manifest,
  dockerMediaTypes.index,
  dockerMediaTypes.manifest,
].join(', ');

/** Normalizes a media type for comparison: no parameters, lower case. */
export function normalizeMediaType(text: string | undefined): string {
  return (text ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/** Tells whether a media type is that of an image manifest. */
export function isImageManifestType(mediaType: string): boolean {
  return mediaType === ociMediaTypes.manifest || mediaType === dockerMediaTypes.manifest;
}

/** Tells whether a media type is that of an image index or manifest list. */
export function isIndexType(mediaType: string): boolean {
  return mediaType === ociMediaTypes.index || mediaType === dockerMediaTypes.index;
}

/** Tells whether a media type is that of Docker's schema 1, which is not supported. */
export function isSchema1Type(mediaType: string): boolean {
  return schema1MediaTypes.has(mediaType);
}

/** Tells whether a media type is that of an image's configuration (and not of an artifact's). */
export function isImageConfigType(mediaType: string): boolean {
  const normalized = normalizeMediaType(mediaType);
  return normalized === ociMediaTypes.config || normalized === dockerMediaTypes.config;
}

/** Tells whether a media type is that of a layer that may be stored outside the registry ("foreign"). */
export function isNonDistributableLayerType(mediaType: string): boolean {
  return nonDistributableLayer.test(normalizeMediaType(mediaType));
}

/**
 * Tells whether a media type is that of a file system layer, however it is compressed and wherever it is
 * stored.
 */
export function isFileSystemLayerType(mediaType: string): boolean {
  return fileSystemLayer.test(normalizeMediaType(mediaType));
}

/**
 * Returns the family of a manifest, index, configuration or layer media type; undefined if it belongs to
 * none.
 */
export function familyOf(mediaType: string): ManifestFamily | undefined {
  if (mediaType.startsWith('application/vnd.docker.')) return 'docker';
  if (mediaType.startsWith('application/vnd.oci.')) return 'oci';
  return undefined;
}

/**
 * Returns the media type of a layer. It follows the family of the manifest, never that of a neighbouring
 * layer: registries refuse manifests that mix the families.
 */
export function layerMediaType(family: ManifestFamily, compression: LayerCompression): string {
  const types = family === 'oci' ? ociMediaTypes : dockerMediaTypes;
  switch (compression) {
    case 'gzip':
      return types.layerGzip;
    case 'zstd':
      return types.layerZstd;
    case 'none':
      return types.layerTar;
  }
}
