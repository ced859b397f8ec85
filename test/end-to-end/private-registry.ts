import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { RegistryClient } from '../../src/registry/image/client.ts';
import type { ImageRepository } from '../../src/registry/image/repository.ts';
import { Secret } from '../../src/shared/secret.ts';
import { startDockerRegistry, testUser, type TestRegistry } from '../support/registries.ts';
import { buildToolsPrograms } from './build-tools.ts';
import { pushImages } from './images.ts';

/** The real programs that the registry and its images take. */
export const privateRegistryPrograms = [...buildToolsPrograms, 'docker-registry'] as const;

/**
 * A registry that asks for a password. It has images to build modules in (`build-tools`, by kernel), a small one
 * to put them in (`ubi`), and drivers that their vendor did not sign.
 */
export interface PrivateRegistry extends AsyncDisposable {
  readonly registry: TestRegistry;
  readonly repository: (name: string) => ImageRepository;
}

/** Starts the registry and pushes its images. */
export async function startPrivateRegistry(): Promise<PrivateRegistry> {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await startDockerRegistry({ authentication: 'basic' }));
  const client = new RegistryClient({
    plainHttp: true,
    credentials: {
      explicit: { username: testUser.username, password: new Secret<string>(testUser.password) },
    },
  });
  stack.defer(() => client.close());
  const repository = (name: string): ImageRepository =>
    client.repository({ registry: registry.host, repository: name });
  await pushImages(repository);
  const owned = stack.move();
  return { registry, repository, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** Writes what programs need to log in to the registry, into a folder. Gives the file. */
export async function writeCredentials(folder: string, host: string): Promise<string> {
  const file = join(folder, 'auth.json');
  const auth = Buffer.from(`${testUser.username}:${testUser.password}`).toString('base64');
  await writeFile(file, JSON.stringify({ auths: { [host]: { auth } } }), { mode: 0o600 });
  return file;
}
