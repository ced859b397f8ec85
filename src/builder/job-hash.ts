import { createHash } from 'node:crypto';
import { needsDriverToolkit } from './driver-toolkit.ts';
import type { BuildFacts, JobFacts, SignFacts } from './job-facts.ts';
import { shortHash, type Json } from './names.ts';
import type { ModuleTarget } from './target.ts';

/**
 * The hash of all that a build depends on. The same hash means the same work: asked for twice, it is the same
 * Job. A change of any input starts anew.
 */
export function buildHash(target: ModuleTarget, builder: string, facts: BuildFacts): string {
  const { build } = target;
  return shortHash({
    ...common(target, facts),
    kind: 'build',
    builder,
    destination: build?.image,
    buildArgs: build?.buildArgs.map(({ name, value }) => [name, value]),
    secrets: build?.secrets,
    baseImageRegistryTls: { ...build?.baseImageRegistryTls },
    kanikoTag: build?.kanikoTag,
    selector: build?.selector,
    dockerfile: sha256(facts.dockerfile),
    driverToolkit: needsDriverToolkit(facts.dockerfile) ? facts.driverToolkitImage : undefined,
    push: facts.push,
    architecture: facts.architecture,
  });
}

/** The hash of all that signing depends on. The private key is not read: its certificate stands for it. */
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

function common(target: ModuleTarget, facts: JobFacts): Record<string, Json> {
  return {
    namespace: facts.namespace,
    owner: facts.owner?.uid,
    module: { namespace: target.module.namespace, name: target.module.name },
    kernel: target.kernel.release,
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
