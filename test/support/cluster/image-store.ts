import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod } from '../../../src/controller/observe/cluster/resources.ts';
import { isPullable, joinCredentials, pullImage, type LocalImage, type RunnableImage } from './images.ts';
import type { References } from './references.ts';

/** Prepares images, each once. */
export class ImageStore {
  readonly #folder: string;
  readonly #local: Readonly<Record<string, LocalImage>>;
  readonly #images = new Map<string, Promise<RunnableImage>>();
  #count = 0;

  constructor(folder: string, local: Readonly<Record<string, LocalImage>>) {
    this.#folder = folder;
    this.#local = local;
  }

  /**
   * Returns the image of a pod's container. Images that are not local and have no digest are pulled each
   * time.
   * @throws Error
   */
  async get(name: string, pod: Pod, references: References): Promise<RunnableImage> {
    const kept = this.#images.get(name);
    if (kept !== undefined) return kept;
    const image = this.#prepare(name, pod, references);
    if (!(name in this.#local) && !name.includes('@')) return image;
    this.#images.set(name, image);
    try {
      return await image;
    } catch (error) {
      this.#images.delete(name);
      throw error;
    }
  }

  async #prepare(name: string, pod: Pod, references: References): Promise<RunnableImage> {
    this.#count += 1;
    const folder = join(this.#folder, String(this.#count));
    await mkdir(folder, { recursive: true });
    const local = this.#local[name];
    if (local !== undefined) return local(folder);
    if (!isPullable(name)) {
      throw new Error(
        `failed to pull image "${name}": no table has it, and its registry is not of this machine`,
      );
    }
    return pullImage(name, { folder, credentials: await credentialsOf(pod, references) });
  }
}

/** Returns a pod's credentials. Like the kubelet, ignores missing pull secrets. */
async function credentialsOf(pod: Pod, references: References): Promise<string | undefined> {
  const found = await Promise.all(
    (pod.spec?.imagePullSecrets ?? []).map(({ name = '' }) => references.secret(name, true)),
  );
  const configs = found.flatMap((files) => files?.get('.dockerconfigjson')?.toString() ?? []);
  return configs.length === 0 ? undefined : joinCredentials(configs);
}
