import { join } from 'node:path';
import type { Digest } from '../model/digest.ts';
import { type Exchange, methodNotAllowed, sendBytes, ProtocolError } from './exchange.ts';
import { parseDocument } from './manifest-document.ts';
import { compareTags } from './manifest-store.ts';
import { listDirectory, type StorageLayout } from './storage.ts';

const indexMediaType = 'application/vnd.oci.image.index.v1+json';

/** Handles GET on tags/list: distribution-spec, "Listing Tags", with `n`, `last` and Link. */
export async function handleTags(exchange: Exchange, repository: string): Promise<void> {
  const { manifests, query } = exchange;
  checkReading(exchange);
  if (!(await manifests.hasRepository(repository))) {
    throw new ProtocolError({ status: 404, code: 'NAME_UNKNOWN', message: 'the repository does not exist' });
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

/** Handles GET on referrers: distribution-spec, "Listing Referrers", with the filter `artifactType`. */
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
    // An image without an artifact type has that of its configuration.
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
function checkReading({ method }: Exchange): void {
  if (method !== 'GET' && method !== 'HEAD') throw methodNotAllowed('GET, HEAD');
}

/** The default and the largest number of repositories per response, as in distribution. */
const defaultLimit = 100;
const maxLimit = 1000;

/**
 * Handles GET on _catalog: the repositories that have had a manifest, with `n`, `last` and Link. It is no
 * longer part of the specification; the responses are those of distribution.
 */
export async function handleCatalog(exchange: Exchange): Promise<void> {
  const { layout, query } = exchange;
  checkReading(exchange);
  const limit = parseCatalogLimit(query.get('n'));
  const repositories: string[] = [];
  let more = false;
  for await (const name of limit === 0 ? [] : listRepositories(layout, '', query.get('last') ?? '')) {
    more = repositories.length === limit;
    if (more) break;
    repositories.push(name);
  }
  const next = new URLSearchParams({ n: String(limit), last: repositories.at(-1) ?? '' });
  sendBytes(exchange, {
    bytes: Buffer.from(JSON.stringify({ repositories })),
    headers: {
      'content-type': 'application/json',
      ...(more ? { link: `</v2/_catalog?${next.toString()}>; rel="next"` } : {}),
    },
  });
}

function parseCatalogLimit(text: string | null): number {
  if (text === null || text === '') return defaultLimit;
  const limit = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (limit <= maxLimit) return limit;
  throw new ProtocolError({
    status: 400,
    code: 'PAGINATION_NUMBER_INVALID',
    message: `n must be a number of ${maxLimit} at most`,
  });
}

/**
 * Yields the repositories below a directory whose names come after `last`, in order: a name before those
 * below it.
 */
async function* listRepositories(
  layout: StorageLayout,
  parent: string,
  last: string,
): AsyncGenerator<string> {
  const names = await listDirectory(layout.repositoryDirectory(parent));
  if (names.includes('_manifests') && sortKey(parent) > sortKey(last)) yield parent;
  for (const name of names.filter((text) => !text.startsWith('_')).toSorted()) {
    const path = join(parent, name);
    const endsBefore = sortKey(path) < sortKey(last) && !last.startsWith(`${path}/`);
    if (!endsBefore) yield* listRepositories(layout, path, last);
  }
}

/**
 * Returns the key to sort a name by: names are compared part by part, so that what is below a name directly
 * follows it.
 */
function sortKey(name: string): string {
  return name.replaceAll('/', '\0');
}
