import type { Overlay, OverlayFile } from '../../../registry/layer/overlay.ts';
import { SignerError } from '../../model/errors.ts';
import type { AppendedEntry } from './append-layer.ts';
import { namesOutsideOstree } from '../plan/ostree.ts';
import type { SignedModule } from './sign-modules.ts';

const views = ['overlayfs', 'extraction'] as const;

/**
 * Checks that a layer on top shows every signed module under its previous names, in every view, and nothing
 * else in their place. @throws SignerError VIEWS_DIFFER
 */
export async function checkAppended(
  overlay: Overlay,
  entries: readonly AppendedEntry[],
  modules: readonly SignedModule[],
): Promise<void> {
  const names = new Set(modules.flatMap(({ found }) => found.file.names.map(baseName)));
  const accepts = (name: string) => names.has(name);
  const signed = new Map(modules.map(({ found }) => [keyOf(found.file), found.path]));
  const listed = entries.map(({ path, type, linkPath = '' }) => ({ path, type, linkName: linkPath }));
  const after = await (await overlay.withTopLayer(listed)).files(accepts);
  const topLayer = after.reduce((top, { entry }) => Math.max(top, entry.layer), 0);
  const before = await overlay.files(accepts);
  for (const view of views) {
    const expected = placesOf(before, view, (file, name) => {
      // A file of an OSTree repository stays unchanged, even if it is linked to a module.
      const isSigned = namesOutsideOstree([name]).length > 0;
      return (isSigned ? signed.get(keyOf(file)) : undefined) ?? keyOf(file);
    });
    const shown = placesOf(after, view, (file) => {
      const module = file.entry.layer === topLayer ? entries[file.entry.index]?.module : undefined;
      return module?.found.path ?? keyOf(file);
    });
    const differing = new Set([...expected.keys(), ...shown.keys()]).values();
    const path = differing.find((one) => expected.get(one) !== shown.get(one));
    if (path !== undefined) throw differ(path);
  }
}

function placesOf(
  files: readonly OverlayFile[],
  view: (typeof views)[number],
  identify: (file: OverlayFile, name: string) => string,
): Map<string, string> {
  return new Map(
    files.flatMap((file) => (file.differs?.[view] ?? file.names).map((name) => [name, identify(file, name)])),
  );
}

function keyOf({ entry }: OverlayFile): string {
  return `${entry.layer}:${entry.index}`;
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function differ(path: string): SignerError {
  return new SignerError({
    code: 'VIEWS_DIFFER',
    message: `runtimes see different files at ${path}, and no layer on top of the image gives all of them the signed module`,
    hint: 'Sign with --mode rewrite. kmm-sign inspect shows what runtimes see.',
    facts: { path },
  });
}
