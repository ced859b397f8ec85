import { createHash } from 'node:crypto';
import { expect } from 'vitest';

/** Media types as the specifications spell them. */
export const mediaType = {
  manifest: 'application/vnd.oci.image.manifest.v1+json',
  index: 'application/vnd.oci.image.index.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  config: 'application/vnd.oci.image.config.v1+json',
  layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
} as const;

/** A digest, computed without the project's code. */
export function hashOf(content: Uint8Array | string, algorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(content).digest('hex')}`;
}

/** Returns a descriptor of content. */
export function describeContent(
  type: string,
  content: Uint8Array | string,
): { mediaType: string; digest: string; size: number } {
  return { mediaType: type, digest: hashOf(content), size: Buffer.byteLength(content) };
}

/** Stores a blob with POST and PUT, by the letter of the specification. */
export async function pushBlob(base: string, content: Uint8Array | string): Promise<string> {
  const digest = hashOf(content);
  const started = await fetch(`${base}/blobs/uploads/`, { method: 'POST' });
  const location = new URL(started.headers.get('location') ?? '', started.url);
  location.searchParams.set('digest', digest);
  const ended = await fetch(location, { method: 'PUT', body: content });
  expect(ended.status).toBe(201);
  return digest;
}

/** Stores a JSON document as a manifest and returns its digest. */
export async function pushManifest(
  base: string,
  { reference, type, document }: { reference?: string; type: string; document: unknown },
): Promise<string> {
  const body = JSON.stringify(document);
  const put = await fetch(`${base}/manifests/${reference ?? hashOf(body)}`, {
    method: 'PUT',
    headers: { 'content-type': type },
    body,
  });
  expect([put.status, put.status === 201 ? '' : await put.text()]).toEqual([201, '']);
  return hashOf(body);
}
