import { labelsOf, type ImageConfig } from '../../../registry/image/config.ts';
import { SignerError } from '../../model/errors.ts';
import { changes, type PlannedModule } from './plan-modules.ts';

/** A file of an OSTree repository: it is named by the digest of its content (ostree, repo/objects). */
const object = /\/objects\/[0-9a-f]{2}\/[0-9a-f]{62}\.file$/;

/** The commit that an image holds, and the diff ID of the last layer that belongs to it (ostree-rs-ext). */
export const commitLabel = 'ostree.commit';
const finalDiffIdLabel = 'ostree.final-diffid';

/** The names of a file, without those that it has in an OSTree repository, where it must stay as it is. */
export function namesOutsideOstree(names: readonly string[]): string[] {
  return names.filter((name) => !object.test(name));
}

/** Whether new content for a module has to be kept from an OSTree repository that it is linked to. */
export function isLinkedToOstree({ found }: Pick<PlannedModule, 'found'>): boolean {
  return found.file.names.some((name) => object.test(name));
}

/**
 * Refuses modules that cannot be signed without damage to an OSTree repository. Appending breaks the link, which
 * rewriting the entry of both names cannot. @throws SignerError OSTREE_OBJECT
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
        ? 'Use --mode append: the module becomes a file of its own, and the repository stays whole.'
        : 'Name the module by the path that it has outside of the repository.',
      facts: { path },
    });
  }
}

/** What became of an image's layers. */
export interface OstreeChanges {
  /** Whether modules were parted from the repository. */
  readonly linksBroken: boolean;
  readonly diffIds: readonly string[];
}

/** Labels of an ostree or bootc image that would not be true of the signed one. */
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
