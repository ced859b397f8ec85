import { createHash } from 'node:crypto';
import { needsDriverToolkit } from './driver-toolkit.ts';
import type { BuildInputs, JobInputs, SignInputs } from './job-inputs.ts';
import { shortHash, type Json } from './names.ts';
import type { ModuleTarget } from './target.ts';

/**
 * Hashes only what a user specifies about a build: if the hash differs from that of an existing image, the
 * image must be rebuilt. A new version of the operator or of a builder does not change it.
 */
export function buildInputsHash(target: ModuleTarget, dockerfile: string): string {
  return shortHash(userInputs(target, dockerfile));
}

/**
 * Hashes everything that a build depends on. The same hash means the same work, and requesting it twice
 * yields the same Job. Changing any input starts a new build.
 */
export function buildHash(target: ModuleTarget, builder: string, inputs: BuildInputs): string {
  const { build } = target;
  return shortHash({
    ...common(target, inputs),
    ...userInputs(target, inputs.dockerfile),
    kind: 'build',
    builder,
    destination: build?.image,
    kanikoTag: build?.kanikoTag,
    selector: build?.selector,
    driverToolkit: needsDriverToolkit(inputs.dockerfile) ? inputs.driverToolkitImage : undefined,
    push: inputs.push,
    architecture: inputs.architecture,
  });
}

/** Hashes everything that signing depends on. The private key is not read: its certificate identifies it. */
export function signHash(target: ModuleTarget, inputs: SignInputs): string {
  const { sign } = target;
  return shortHash({
    ...common(target, inputs),
    kind: 'sign',
    source: inputs.sourceDigest,
    destination: target.image,
    unsignedImage: sign?.unsignedImage,
    unsignedImageRegistryTls: { ...sign?.unsignedImageRegistryTls },
    files: sign?.files,
    keySecret: sign?.keySecret,
    certSecret: sign?.certSecret,
    certificate: inputs.certificateFingerprint,
  });
}

function userInputs({ build, ...target }: ModuleTarget, dockerfile: string): Record<string, Json> {
  return {
    kernel: target.kernel.release,
    buildArgs: build?.buildArgs.map(({ name, value }) => [name, value]),
    secrets: build?.secrets,
    baseImageRegistryTls: { ...build?.baseImageRegistryTls },
    dockerfile: sha256(dockerfile),
    trigger: target.imageRebuildTriggerGeneration,
  };
}

function common(target: ModuleTarget, inputs: JobInputs): Record<string, Json> {
  return {
    namespace: inputs.namespace,
    owner: inputs.owner?.uid,
    // The Module and kernel named by shared work depend only on which request came first.
    module: inputs.shared === true ? undefined : { ...target.module },
    kernel: inputs.shared === true ? undefined : target.kernel.release,
    registryTls: { ...target.registryTls },
    image: inputs.image,
    pullSecrets: inputs.pullSecrets.map(({ name }) => name),
    trigger: target.imageRebuildTriggerGeneration,
    retry: inputs.retry,
    attempt: inputs.attempt,
  };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
