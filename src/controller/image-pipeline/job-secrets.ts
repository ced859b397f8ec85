import type { V1Job } from '@kubernetes/client-node';
import { labelKeys } from '../../builder/labels.ts';
import { shortHash } from '../../builder/names.ts';
import type { ModuleTarget } from '../../builder/target.ts';
import { ReferencedObjectError } from '../observe/references/reference.ts';
import { PipelineError } from './inputs.ts';
import type { PipelineRequest, PipelineServices } from './request.ts';

/** A Secret that a Job mounts, or one entry of it. */
interface MountedSecret {
  readonly name: string;
  /** The path of the directory or file in the Job's container. */
  readonly path: string;
  /** The entry that is the file. */
  readonly entry: string | undefined;
}

/**
 * Returns a hash of the versions of the Secrets that a Job mounts: it differs once one of them has changed.
 * @throws PipelineError SECRET_MISSING, ApiError
 */
export async function secretsVersionOf(
  { references }: Pick<PipelineServices, 'references'>,
  { namespace, target }: PipelineRequest,
  job: V1Job,
): Promise<string> {
  const names = [...new Set(mountedSecrets(job).map(({ name }) => name))].toSorted();
  const versions = await Promise.all(
    names.map(async (name) => {
      const version = await readVersion(references, namespace, name);
      if (version === undefined) throw secretMissing(namespace, name, target);
      return [name, version];
    }),
  );
  return shortHash(versions);
}

/** Returns the version of a Secret; one that the operator may not read counts as unchanged. */
async function readVersion(
  references: Pick<PipelineServices['references'], 'secretVersion'>,
  namespace: string,
  name: string,
): Promise<string | undefined> {
  try {
    return await references.secretVersion({ namespace, name });
  } catch (error) {
    if (error instanceof ReferencedObjectError && error.code === 'REFERENCE_FORBIDDEN') return 'unknown';
    throw error;
  }
}

/**
 * Names the Secrets in the description of a failed Job, whose log only knows where they were mounted. For a sign
 * Job they are listed even if the log mentions none: it says nothing of what the key lacks.
 */
export function nameSecrets(failure: string, job: V1Job): string {
  const { namespace = '', labels = {} } = job.metadata ?? {};
  const secrets = mountedSecrets(job).toSorted((a, b) => b.path.length - a.path.length);
  let text = failure;
  for (const { name, path, entry } of secrets) {
    const place = entry === undefined ? '' : `entry "${entry}" of `;
    text = text.replaceAll(path, `${place}Secret ${namespace}/${name}`);
  }
  const names = [...new Set(secrets.map(({ name }) => `${namespace}/${name}`))].toSorted();
  const isNamed = names.some((name) => text.includes(`Secret ${name}`));
  if (isNamed || labels[labelKeys.jobType] !== 'sign') return text;
  return `${text} (it used ${names.map((name) => `Secret ${name}`).join(', ')})`;
}

function mountedSecrets({ spec }: V1Job): MountedSecret[] {
  const { volumes = [], containers = [] } = spec?.template.spec ?? {};
  const mounts = containers.flatMap(({ volumeMounts = [] }) => volumeMounts);
  return volumes.flatMap(({ name: volume, secret }): MountedSecret[] => {
    const name = secret?.secretName;
    const directory = mounts.find((mount) => mount.name === volume)?.mountPath;
    if (name === undefined || directory === undefined) return [];
    if (secret?.items === undefined) return [{ name, path: directory, entry: undefined }];
    return secret.items.map(({ key, path }) => ({ name, path: `${directory}/${path}`, entry: key }));
  });
}

function secretMissing(namespace: string, name: string, { build, sign }: ModuleTarget): PipelineError {
  const fields = [
    sign?.keySecret === name ? ['sign.keySecret'] : [],
    sign?.certSecret === name ? ['sign.certSecret'] : [],
    build?.secrets.includes(name) === true ? ['build.secrets'] : [],
  ].flat();
  const field = fields.length === 0 ? 'the Module' : fields.join(' and ');
  return new PipelineError({
    code: 'SECRET_MISSING',
    message: `The Secret ${namespace}/${name}, which ${field} names, does not exist`,
    hint: 'Create it; the work then starts by itself.',
    facts: { namespace, secret: name },
  });
}
