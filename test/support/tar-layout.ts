import { createHash } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

/** A layer as stored. */
export interface StoredLayer {
  readonly bytes: Buffer;
  readonly compression: 'none' | 'gzip';
  /** SHA-256 of the tar in hexadecimal digits. */
  readonly diffId: string;
}

/** Writes an OCI layout with one image, tagged `latest`, of uncompressed layers. */
export function writeLayout(directory: string, layers: readonly Buffer[]): Promise<void> {
  return writeStoredLayout(
    directory,
    layers.map((bytes) => ({
      bytes,
      compression: 'none',
      diffId: createHash('sha256').update(bytes).digest('hex'),
    })),
  );
}

/** Writes an OCI layout with one image, tagged `latest`. */
export async function writeStoredLayout(directory: string, layers: readonly StoredLayer[]): Promise<void> {
  const blobs = join(directory, 'blobs', 'sha256');
  await mkdir(blobs, { recursive: true });
  const store = async (bytes: Buffer, mediaType: string) => {
    const hex = createHash('sha256').update(bytes).digest('hex');
    await writeFile(join(blobs, hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const storeJson = (value: object, mediaType: string) =>
    store(Buffer.from(JSON.stringify(value)), mediaType);
  const stored = await Promise.all(
    layers.map(({ bytes, compression }) =>
      store(bytes, `application/vnd.oci.image.layer.v1.tar${compression === 'gzip' ? '+gzip' : ''}`),
    ),
  );
  const config = await storeJson(
    {
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => `sha256:${diffId}`) },
      history: [],
    },
    'application/vnd.oci.image.config.v1+json',
  );
  const manifest = await storeJson(
    { schemaVersion: 2, mediaType: 'application/vnd.oci.image.manifest.v1+json', config, layers: stored },
    'application/vnd.oci.image.manifest.v1+json',
  );
  const annotations = { 'org.opencontainers.image.ref.name': 'latest' };
  await writeFile(join(directory, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  await writeFile(
    join(directory, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  );
}
