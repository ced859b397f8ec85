import type { Reference } from '../references/reference.ts';
import { KmmError } from '../../shared/errors.ts';
import type { WantedKernel } from './kernel-result.ts';

/** The objects that a Module refers to for the kernels in its cluster. */
export function referencesOf(namespace: string, kernels: readonly WantedKernel[]): Reference[] {
  return kernels.flatMap(({ target }): Reference[] => {
    if (target instanceof KmmError) return [];
    const { build, sign, imageRepoSecret, serviceAccountName = 'default' } = target;
    const refer = (kind: Reference['kind'], name: string): Reference => ({ kind, key: { namespace, name } });
    return [
      ...(build === undefined ? [] : [refer('dockerfile', build.dockerfileConfigMap)]),
      ...(sign === undefined ? [] : [refer('certificate', sign.certSecret)]),
      imageRepoSecret === undefined
        ? refer('service-account', serviceAccountName)
        : refer('pull-secret', imageRepoSecret),
    ];
  });
}
