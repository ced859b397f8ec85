import type { Digest } from '../model/digest.ts';
import { discardBody } from '../http/response-body.ts';
import { checkStatus } from '../http/response-error.ts';
import type { ChildDescriptor } from '../model/manifest.ts';
import { maxManifestSize } from '../model/json.ts';
import { parseManifest } from '../model/parse-manifest.ts';
import { normalizeMediaType, ociMediaTypes } from '../model/media-types.ts';
import { readBody } from './answer.ts';
import { endpointUrl, send, type Endpoint } from './endpoint.ts';

/** What registries without the API answer; some refuse, some take the path for another one. */
const notSupported: ReadonlySet<number> = new Set([400, 401, 403, 404, 405, 406, 501]);

/**
 * Asks a registry which manifests refer to one (distribution-spec, "Listing Referrers"), for the first page of them.
 * undefined where it cannot be asked. @throws RegistryError
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
  // Some registries say 200 to every path.
  if (notSupported.has(response.status) || (response.status === 200 && mediaType !== ociMediaTypes.index)) {
    await discardBody(response);
    return undefined;
  }
  const context = { action: `list what refers to ${endpoint.name}@${digest}`, facts: { digest } };
  await checkStatus(response, [200], context);
  const bytes = await readBody(response, maxManifestSize, context);
  endpoint.onBytesDown(bytes.length);
  const index = parseManifest({ mediaType, digest, bytes });
  return index.kind === 'index' ? index.manifests : undefined;
}
