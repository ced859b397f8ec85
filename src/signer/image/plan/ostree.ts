import { labelsOf, type ImageConfig } from '../../../registry/image/config.ts';
import { SignerError } from '../../model/errors.ts';
import { changes, type PlannedModule } from './plan-modules.ts';

/** A file of an OSTree repository, which is named by the digest of its content (ostree, repo/objects). */
const object = /\/objects\/[0-9a-f]{2}\/[0-9a-f]{62}\.file$/;

/** The commit in an image, and the diff ID of the last layer that belongs to it (ostree-rs-ext). */
export const commitLabel = 'ostree.commit';
const finalDiffIdLabel = 'ostree.final-diffid';

/** Returns a file's names without those inside an OSTree repository, where it must not change. */
export function namesOutsideOstree(names: readonly string[]): string[] {
  return names.filter((name) => !object.test(name));
}

/** Whether a module is linked to an OSTree repository, which its new content must not reach. */
export function isLinkedToOstree({ found }: Pick<PlannedModule, 'found'>): boolean {
  return found.file.names.some((name) => object.test(name));
}

/**
 * Refuses modules that cannot be signed without damaging an OSTree repository. Appending breaks the link;
 * rewriting the entry that both names share cannot. @throws SignerError OSTREE_OBJECT
 */
export function checkOstreeLinks(modules: readonly PlannedModule[], mode: 'rewrite' | 'append'): void {
  for (const module of modules) {
    if (!changes(module) || !isLinkedToOstree(module)) continue;
    const { path } = module.found;
    const canBreak = !object.test(path);
    if (mode === 'append' && canBreak) continue;
    throw new SignerError({
      code: 'OSTREE_OBJECT',
      message: `${path} is ${canBreak ? 'linked to ' : ''}an object of the image's OSTree repository, which new content would damage`,
      hint: canBreak
        ? 'Use --mode append: the module becomes a separate file, and the repository stays intact.'
        : 'Name the module by its path outside the repository.',
      facts: { path },
    });
  }
}

/** How an image's layers have changed. */
export interface OstreeChanges {
  /** Whether modules were unlinked from the repository. */
  readonly linksBroken: boolean;
  readonly diffIds: readonly string[];
}

/** Returns the labels of an ostree or bootc image that would be false on the signed image. */
export function staleOstreeLabels(config: ImageConfig, { linksBroken, diffIds }: OstreeChanges): string[] {
  const labels = labelsOf(config);
  const last = config.diffIds.findIndex((diffId) => diffId === labels[finalDiffIdLabel]);
  const isRewritten = config.diffIds.some((diffId, index) => index <= last && diffIds[index] !== diffId);
  const isFinalGone = labels[finalDiffIdLabel] !== undefined && !diffIds.includes(labels[finalDiffIdLabel]);
  return [
    ...(labels[commitLabel] !== undefined && (linksBroken || isRewritten) ? [commitLabel] : []),
    ...(isFinalGone ? [finalDiffIdLabel] : []),
  ];
}
