import { RegistryError } from '../../registry/model/errors.ts';
import type { ImageRepository } from '../../registry/image/repository.ts';
import type { Manifest } from '../../registry/model/manifest.ts';

export interface PushDestination {
  readonly repository: ImageRepository;
  readonly tag?: string | undefined;
}

/** Codes of errors that will be the same when everything has been read and signed. */
const lasting: ReadonlySet<string> = new Set(['UNAUTHORIZED', 'DENIED', 'NOT_FOUND', 'UNSAFE_REDIRECT']);
/** The status of a registry that is read only, such as a cache of another one. */
const methodNotAllowed = 405;

/**
 * Fails where a result could not be stored, before anything is read for it. Troubles that may pass are left to the time
 * when it is stored; so is a refusal where the tag names the source itself, since then nothing may have to change.
 * @throws RegistryError UNAUTHORIZED, DENIED, NOT_FOUND, UNSAFE_REDIRECT, UNEXPECTED_RESPONSE
 */
export async function requirePush(
  destination: PushDestination,
  { source, signal }: { readonly source: Manifest; readonly signal?: AbortSignal | undefined },
): Promise<void> {
  try {
    await destination.repository.checkPush?.({ signal });
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof RegistryError)) throw error;
    if (!lasting.has(error.code) && error.facts['status'] !== methodNotAllowed) return;
    if (await isTagged(destination, source, signal)) return;
    throw error;
  }
}

async function isTagged(
  { repository, tag }: PushDestination,
  source: Manifest,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  if (tag === undefined) return false;
  try {
    return (await repository.resolve({ tag }, { signal })).digest === source.raw.digest;
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof RegistryError) return false;
    throw error;
  }
}
