import type { Reference } from '../observe/references/reference.ts';
import { KmmError } from '../../shared/errors.ts';
import type { WantedKernel } from './wanted-kernels.ts';

/** The objects that a Module refers to for the kernels in its cluster. */
export function referencesOf(
  namespace: string,
  kernels: readonly Pick<WantedKernel, 'target'>[],
): Reference[] {
  return kernels.flatMap(({ target }) => {
    if (target instanceof KmmError) return [];
    const { build, sign, imageRepoSecret, serviceAccountName = 'default' } = target;
    const names: (readonly [Reference['kind'], string])[] = [
      ...(build === undefined ? [] : [['dockerfile', build.dockerfileConfigMap] as const]),
      ...(sign === undefined ? [] : [['certificate', sign.certSecret] as const]),
      imageRepoSecret === undefined
        ? ['service-account', serviceAccountName]
        : ['pull-secret', imageRepoSecret],
    ];
    return names.map(([kind, name]) => ({ kind, key: { namespace, name } }));
  });
}
