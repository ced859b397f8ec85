import type { Digest } from '../model/digest.ts';
import { methodNotAllowed, sendBytes, type Exchange } from './exchange.ts';
import { compareTags } from './manifest-store.ts';
import { parseDocument } from './manifest-document.ts';
import { ProtocolError } from './protocol-error.ts';

const indexMediaType = 'application/vnd.oci.image.index.v1+json';

/** Answers GET on tags/list: distribution-spec, "Listing Tags", with `n`, `last` and Link. */
export async function handleTags(exchange: Exchange, repository: string): Promise<void> {
  const { manifests, query } = exchange;
  checkReading(exchange);
  if (!(await manifests.hasRepository(repository))) {
    throw new ProtocolError({ status: 404, code: 'NAME_UNKNOWN', message: 'there is no such repository' });
  }
  const last = query.get('last');
  const after = (await manifests.tags(repository)).filter(
    (tag) => last === null || compareTags(tag, last) > 0,
  );
  const limit = parseLimit(query.get('n'));
  const tags = after.slice(0, limit);
  const more = tags.length > 0 && tags.length < after.length;
  const next = new URLSearchParams({ n: String(limit), last: tags.at(-1) ?? '' });
  sendBytes(exchange, {
    bytes: Buffer.from(JSON.stringify({ name: repository, tags })),
    headers: {
      'content-type': 'application/json',
      ...(more ? { link: `</v2/${repository}/tags/list?${next.toString()}>; rel="next"` } : {}),
    },
  });
}

function parseLimit(text: string | null): number | undefined {
  if (text === null) return undefined;
  if (!/^\d{1,9}$/.test(text)) {
    throw new ProtocolError({ status: 400, code: 'UNSUPPORTED', message: 'n must be a number' });
  }
  return Number(text);
}

/** Answers GET on referrers: distribution-spec, "Listing Referrers", with the filter `artifactType`. */
export async function handleReferrers(
  exchange: Exchange,
  { repository, digest }: { readonly repository: string; readonly digest: Digest },
): Promise<void> {
  checkReading(exchange);
  const all = await describeReferrers(exchange, repository, digest);
  const filter = exchange.query.get('artifactType');
  const manifests = filter === null ? all : all.filter(({ artifactType }) => artifactType === filter);
  sendBytes(exchange, {
    bytes: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: indexMediaType, manifests })),
    headers: {
      'content-type': indexMediaType,
      ...(filter === null ? {} : { 'oci-filters-applied': 'artifactType' }),
    },
  });
}

interface ReferrerDescriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly artifactType?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

async function describeReferrers(
  exchange: Exchange,
  repository: string,
  subject: Digest,
): Promise<ReferrerDescriptor[]> {
  const descriptors: ReferrerDescriptor[] = [];
  for (const digest of await exchange.manifests.referrers(repository, subject)) {
    const stored = await exchange.manifests.read(repository, digest);
    if (stored === undefined) continue;
    const { mediaType, document } = parseDocument(stored.bytes, stored.mediaType);
    // An image without a type of its own is of its configuration's type.
    const artifactType = document.artifactType ?? document.config?.mediaType;
    descriptors.push({
      mediaType,
      digest,
      size: stored.bytes.length,
      ...(artifactType === undefined || artifactType === '' ? {} : { artifactType }),
      ...(document.annotations === undefined || document.annotations === null
        ? {}
        : { annotations: document.annotations }),
    });
  }
  return descriptors;
}

/** Refuses methods other than GET and HEAD. @throws ProtocolError 405 */
export function checkReading({ method }: Exchange): void {
  if (method !== 'GET' && method !== 'HEAD') throw methodNotAllowed('GET, HEAD');
}
