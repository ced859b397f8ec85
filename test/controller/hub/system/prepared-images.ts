import type { Job } from '../../../../src/controller/observe/cluster/resources.ts';
import type { Digest } from '../../../../src/registry/model/digest.ts';
import type { RawManifest } from '../../../../src/registry/model/manifest.ts';
import { signImage } from '../../../../src/signer/sign-image.ts';
import { completeJob } from '../../module/cluster-objects.ts';
import { argumentsOf, builtImageOf, type ModuleWorld } from '../../module/module-world.ts';

/**
 * What the Jobs of a fleet are to push, made beforehand: Jobs run on other machines than the hub, which their work must
 * not delay. All that is left to a Job is to set a tag.
 */
export class PreparedImages {
  readonly #world: ModuleWorld;
  readonly #unsigned = new Map<string, RawManifest[]>();
  readonly #signed = new Map<Digest, RawManifest>();

  constructor(world: ModuleWorld) {
    this.#world = world;
  }

  /** Makes an image for a repository, and the same one signed if it is to be. Each has content of its own. */
  async add(name: string, content: string, isSigned: boolean): Promise<void> {
    const image = this.#world.image(name);
    const { repository } = this.#world.parseImage(image);
    const [tag, signedTag] = [`prepared-${content}`, `prepared-signed-${content}`];
    await this.#world.push(`${image}:${tag}`, content);
    const { raw } = await repository.getManifest({ tag });
    this.#unsigned.set(image, [...(this.#unsigned.get(image) ?? []), raw]);
    if (!isSigned) return;
    await signImage({
      source: { repository, selector: { digest: raw.digest } },
      destination: { repository, tag: signedTag },
      signer: this.#world.key.signer,
    });
    this.#signed.set(raw.digest, (await repository.getManifest({ tag: signedTag })).raw);
  }

  /** Does the work of a build Job, with the next image of its repository. */
  async build(job: Job): Promise<void> {
    const destination = builtImageOf(job);
    const name = destination.slice(0, destination.lastIndexOf(':'));
    await this.#finish(job, destination, this.#unsigned.get(name)?.pop());
  }

  /** Does the work of a sign Job. */
  async sign(job: Job): Promise<void> {
    const [source = '', destination = ''] = argumentsOf(job).slice(-2);
    const { digest } = this.#world.parseImage(source).reference;
    await this.#finish(job, destination, digest && this.#signed.get(digest));
  }

  async #finish(job: Job, destination: string, manifest: RawManifest | undefined): Promise<void> {
    if (manifest === undefined) throw new Error(`no image has been prepared for ${destination}`);
    const { repository, reference } = this.#world.parseImage(destination);
    await repository.putManifest(manifest, { tag: reference.tag });
    await completeJob(this.#world.client, job);
  }
}
