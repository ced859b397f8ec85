import * as z from 'zod/mini';
import { parseJson } from '../../shared/json.ts';
import { isDigest, type Digest } from '../model/digest.ts';
import { ProtocolError } from './exchange.ts';

const digest = z.string().check(z.refine((text) => isDigest(text))) as unknown as z.ZodMiniType<Digest>;

const descriptor = z.object({
  mediaType: z.string(),
  digest,
  size: z.int().check(z.nonnegative()),
  urls: z.optional(z.array(z.string())),
});

const annotations = z.record(z.string(), z.string());

const documentSchema = z.object({
  schemaVersion: z.literal(2),
  mediaType: z.optional(z.string()),
  artifactType: z.optional(z.string()),
  config: z.optional(descriptor),
  layers: z.optional(z.array(descriptor)),
  manifests: z.optional(z.array(descriptor)),
  subject: z.optional(descriptor),
  annotations: z.optional(z.nullable(annotations)),
});

/**
 * What the registry needs to know about a manifest: what it references, and how it is listed as a referrer.
 */
export type ManifestDocument = z.infer<typeof documentSchema>;

/** The accepted media types. Schema 1 is not among them. */
const mediaTypes = {
  'application/vnd.oci.image.manifest.v1+json': 'image',
  'application/vnd.oci.image.index.v1+json': 'index',
  'application/vnd.docker.distribution.manifest.v2+json': 'image',
  'application/vnd.docker.distribution.manifest.list.v2+json': 'index',
} as const;

function isMediaType(text: string): text is keyof typeof mediaTypes {
  return Object.hasOwn(mediaTypes, text);
}

/**
 * Parses a pushed manifest of the media type stated by its sender (undefined: the document's own).
 * @throws ProtocolError MANIFEST_INVALID
 */
export function parseDocument(
  bytes: Buffer,
  contentType: string | undefined,
): { readonly mediaType: string; readonly document: ManifestDocument } {
  const json = parseJson(bytes.toString('utf8'));
  if (json === undefined) throw invalid('the manifest is not JSON');
  const result = documentSchema.safeParse(json);
  if (!result.success) throw invalid('the manifest is not well formed, or of schema version 1');
  const document = result.data;
  const mediaType = contentType?.split(';')[0]?.trim().toLowerCase() ?? document.mediaType ?? '';
  if (!isMediaType(mediaType))
    throw invalid('the media type is not that of an OCI or Docker (schema 2) manifest or index');
  if (document.mediaType !== undefined && document.mediaType !== mediaType) {
    throw invalid('the Content-Type is not the media type that the manifest states');
  }
  if (mediaTypes[mediaType] === 'index' ? document.manifests === undefined : document.config === undefined) {
    throw invalid('the manifest lacks fields that its media type requires');
  }
  return { mediaType, document };
}

/** A descriptor in a manifest. */
export type DocumentDescriptor = z.infer<typeof descriptor>;

/** Returns the blobs that must be in the repository before the manifest. */
export function requiredBlobs({ config, layers = [] }: ManifestDocument): DocumentDescriptor[] {
  const stored = layers.filter(({ urls = [] }) => urls.length === 0);
  return [...(config === undefined ? [] : [config]), ...stored];
}

/** Returns what need not be in the repository: subjects, and layers stored elsewhere. */
export function optionalReferences({ layers = [], subject }: ManifestDocument): DocumentDescriptor[] {
  const elsewhere = layers.filter(({ urls = [] }) => urls.length > 0);
  return [...elsewhere, ...(subject === undefined ? [] : [subject])];
}

function invalid(message: string): ProtocolError {
  return new ProtocolError({ status: 400, code: 'MANIFEST_INVALID', message });
}
