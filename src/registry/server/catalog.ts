import { join } from 'node:path';
import { sendBytes, type Exchange } from './exchange.ts';
import { checkReading } from './listings.ts';
import { ProtocolError } from './protocol-error.ts';
import { listFolder, type StorageLayout } from './storage.ts';

/** Repositories in one answer, unless the client asks for another number, and at most. As distribution has them. */
const defaultLimit = 100;
const maxLimit = 1000;

/**
 * Answers GET on _catalog: the repositories that have had a manifest, with `n`, `last` and Link. It is no longer
 * part of the specification; the answers are those of distribution.
 */
export async function handleCatalog(exchange: Exchange): Promise<void> {
  const { layout, query } = exchange;
  checkReading(exchange);
  const limit = parseLimit(query.get('n'));
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

function parseLimit(text: string | null): number {
  if (text === null || text === '') return defaultLimit;
  const limit = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (limit <= maxLimit) return limit;
  throw new ProtocolError({
    status: 400,
    code: 'PAGINATION_NUMBER_INVALID',
    message: `n must be a number of ${maxLimit} at most`,
  });
}

/** The repositories below a folder whose names come after `last`, in order: a name before those below it. */
async function* listRepositories(
  layout: StorageLayout,
  parent: string,
  last: string,
): AsyncGenerator<string> {
  const names = await listFolder(layout.repositoryFolder(parent));
  if (names.includes('_manifests') && sortKey(parent) > sortKey(last)) yield parent;
  for (const name of names.filter((text) => !text.startsWith('_')).toSorted()) {
    const path = join(parent, name);
    const endsBefore = sortKey(path) < sortKey(last) && !last.startsWith(`${path}/`);
    if (!endsBefore) yield* listRepositories(layout, path, last);
  }
}

/** Names are compared part by part, so that what is below a name follows it directly. */
function sortKey(name: string): string {
  return name.replaceAll('/', '\0');
}
