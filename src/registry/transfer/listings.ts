import * as z from 'zod/mini';
import { withTlsOf } from '../http/address.ts';
import { discardBody } from '../http/response-body.ts';
import { checkNotPage, checkStatus, type ResponseContext } from '../http/response-error.ts';
import type { Digest } from '../model/digest.ts';
import { RegistryError } from '../model/errors.ts';
import { maxManifestSize, parseJsonObject } from '../model/json.ts';
import type { ChildDescriptor } from '../model/manifest.ts';
import { normalizeMediaType, ociMediaTypes } from '../model/media-types.ts';
import { parseManifest } from '../model/parse-manifest.ts';
import { readBody, type Endpoint, endpointUrl, send } from './endpoint.ts';

/** Tags requested per page. */
const pageSize = 1000;

/** The most pages of one listing; a registry with more must be looping. */
const maxPages = 10_000;

const tagsSchema = z.object({ tags: z.nullable(z.array(z.string())) });

/**
 * Lists the tags of a repository, all pages of it (distribution-spec, "Listing tags").
 * @throws RegistryError NOT_FOUND
 */
export async function listTags(endpoint: Endpoint, signal: AbortSignal | undefined): Promise<string[]> {
  const tags = new Set<string>();
  const context = { action: `list the tags of ${endpoint.name}`, facts: { repository: endpoint.name } };
  let url: URL | undefined = endpointUrl(endpoint, `tags/list?n=${pageSize}`);
  for (let page = 0; url !== undefined; page += 1) {
    if (page === maxPages) throw unexpected(context, `the list has more than ${maxPages} pages`);
    const response = await send(endpoint, { method: 'GET', url, actions: 'pull', signal });
    await checkStatus(response, [200], context);
    checkNotPage(response, context);
    const list = tagsSchema.safeParse(parsePage(await readBody(response, maxManifestSize, context), context));
    if (!list.success) throw unexpected(context, 'the response is not a list of tags');
    const before = tags.size;
    for (const tag of list.data.tags ?? []) tags.add(tag);
    // A page without a new tag but with a next page is a loop.
    url =
      tags.size === before ? undefined : nextPage(response.headers['link'], response.url, endpoint, context);
  }
  return [...tags];
}

function parsePage(bytes: Buffer, context: ResponseContext): unknown {
  try {
    return parseJsonObject(bytes, 'the list of tags');
  } catch {
    throw unexpected(context, 'the response is not a list of tags');
  }
}

/** Returns the target of `Link: <…>; rel="next"` (RFC 8288), which must be on the registry itself. */
function nextPage(
  link: string | undefined,
  base: URL,
  endpoint: Endpoint,
  context: ResponseContext,
): URL | undefined {
  const target = /<([^<>]*)>\s*;[^,]*\brel="?next"?/i.exec(link ?? '')?.[1];
  if (target === undefined) return undefined;
  const named = URL.parse(target, base);
  if (named === null) throw unexpected(context, 'the link to the next page is not a URL');
  const url = withTlsOf(new URL(endpoint.connection.origin()), named);
  if (url.origin === endpoint.connection.origin()) return url;
  throw new RegistryError({
    code: 'UNSAFE_REDIRECT',
    message: `Cannot ${context.action}: the next page is on another host, ${url.host}`,
    facts: context.facts,
  });
}

function unexpected({ action, facts }: ResponseContext, problem: string): RegistryError {
  return new RegistryError({ code: 'UNEXPECTED_RESPONSE', message: `Cannot ${action}: ${problem}`, facts });
}

/** Statuses of registries without the API: some refuse it, some mistake the path for another one. */
const notSupported: ReadonlySet<number> = new Set([400, 401, 403, 404, 405, 406, 501]);

/**
 * Requests the first page of the manifests that refer to one (distribution-spec, "Listing Referrers").
 * Returns undefined if the registry does not support that.
 * @throws RegistryError
 */
export async function requestReferrers(
  endpoint: Endpoint,
  digest: Digest,
  signal: AbortSignal | undefined,
): Promise<readonly ChildDescriptor[] | undefined> {
  const url = endpointUrl(endpoint, `referrers/${digest}`);
  const headers = { accept: ociMediaTypes.index };
  const response = await send(endpoint, { method: 'GET', url, headers, actions: 'pull', signal });
  const mediaType = normalizeMediaType(response.headers['content-type']);
  // Some registries respond with 200 to every path.
  if (notSupported.has(response.status) || (response.status === 200 && mediaType !== ociMediaTypes.index)) {
    await discardBody(response);
    return undefined;
  }
  const context = { action: `list the referrers of ${endpoint.name}@${digest}`, facts: { digest } };
  await checkStatus(response, [200], context);
  const bytes = await readBody(response, maxManifestSize, context);
  endpoint.onBytesDown(bytes.length);
  const index = parseManifest({ mediaType, digest, bytes });
  return index.kind === 'index' ? index.manifests : undefined;
}
