import { createHash } from 'node:crypto';
import { needsDriverToolkit } from './driver-toolkit.ts';
import type { BuildFacts, JobFacts, SignFacts } from './job-facts.ts';
import { shortHash, type Json } from './names.ts';
import type { ModuleTarget } from './target.ts';

/**
 * The hash of what a user says about a build, and of nothing else: where it differs from that of an image that
 * stands, the image is to be built anew. A new version of the operator or of a builder changes nothing.
 */
export function buildInputsHash(target: ModuleTarget, dockerfile: string): string {
  return shortHash(userInputs(target, dockerfile));
}

/**
 * The hash of all that a build depends on. The same hash means the same work: asked for twice, it is the same
 * Job. A change of any input starts anew.
 */
export function buildHash(target: ModuleTarget, builder: string, facts: BuildFacts): string {
  const { build } = target;
  return shortHash({
    ...common(target, facts),
    ...userInputs(target, facts.dockerfile),
    kind: 'build',
    builder,
    destination: build?.image,
    kanikoTag: build?.kanikoTag,
    selector: build?.selector,
    driverToolkit: needsDriverToolkit(facts.dockerfile) ? facts.driverToolkitImage : undefined,
    push: facts.push,
    architecture: facts.architecture,
  });
}

/** The hash of all that signing depends on. The private key is not read: its certificate identifies it. */
export function signHash(target: ModuleTarget, facts: SignFacts): string {
  const { sign } = target;
  return shortHash({
    ...common(target, facts),
    kind: 'sign',
    source: facts.sourceDigest,
    destination: target.image,
    unsignedImage: sign?.unsignedImage,
    unsignedImageRegistryTls: { ...sign?.unsignedImageRegistryTls },
    files: sign?.files,
    keySecret: sign?.keySecret,
    certSecret: sign?.certSecret,
    certificate: facts.certificateFingerprint,
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

function common(target: ModuleTarget, facts: JobFacts): Record<string, Json> {
  return {
    namespace: facts.namespace,
    owner: facts.owner?.uid,
    // Whose name shared work has, and for which of its kernels, is a matter of who came first.
    module: facts.shared === true ? undefined : { ...target.module },
    kernel: facts.shared === true ? undefined : target.kernel.release,
    registryTls: { ...target.registryTls },
    image: facts.image,
    pullSecrets: facts.pullSecrets.map(({ name }) => name),
    trigger: target.imageRebuildTriggerGeneration,
    retry: facts.retry,
    attempt: facts.attempt,
  };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
