import type { ImageLocationReference } from './image-location.ts';
import { RegistryClient, type RegistryClientOptions } from './image/client.ts';
import { LayoutRepository } from './image/layout-repository.ts';
import type { ImageRepository } from './image/repository.ts';
import type { Selector } from './model/selector.ts';

/**
 * Opens the place that a location names: a repository of a registry, with a connection of its own that its
 * `close` releases, or an OCI layout. Nothing is sent or created until it is used.
 * @throws RegistryError INVALID_REFERENCE
 */
export function openRepository(
  location: ImageLocationReference,
  options: RegistryClientOptions = {},
): Promise<ImageRepository> {
  return Promise.resolve().then(() => {
    if (location.kind === 'layout') return new LayoutRepository(location.directory);
    const client = new RegistryClient(options);
    return client.repository(location.reference, { closesClient: true });
  });
}

/**
 * What of a repository a location means: its digest, else its tag. In a layout with a single entry neither
 * is needed. @throws RegistryError NOT_FOUND, INVALID_REFERENCE
 */
export async function selectorOf(
  location: ImageLocationReference,
  repository: ImageRepository,
): Promise<Selector> {
  const { tag, digest } = location.kind === 'registry' ? location.reference : location;
  if (digest !== undefined) return { digest };
  if (tag !== undefined) return { tag };
  if (repository instanceof LayoutRepository) return repository.onlyImage();
  return { tag: 'latest' };
}
