import fc from 'fast-check';
import type { ListedEntry } from '../../src/registry/layer/entry-list.ts';
import { Overlay } from '../../src/registry/layer/overlay.ts';
import { endOfArchive, entryBlocks } from './tar-blocks.ts';

/**
 * Parses entries in short form: `d/` directory, `f` file, `l -> t` symbolic link, `h => t` hard link, `!p`
 * fifo.
 */
export function layerOf(entries: readonly string[]): ListedEntry[] {
  return entries.map((text) => {
    const [name = '', symlink] = text.split(' -> ');
    if (symlink !== undefined) return { path: name, type: 'symlink', linkName: symlink };
    const [hardlink = '', link] = text.split(' => ');
    if (link !== undefined) return { path: hardlink, type: 'hardlink', linkName: link };
    const linkName = '';
    if (text.endsWith('/')) return { path: text.slice(0, -1), type: 'directory', linkName };
    if (text.startsWith('!')) return { path: text.slice(1), type: 'fifo', linkName };
    return { path: text, type: 'file', linkName };
  });
}

/** Builds an overlay with the topmost `count` layers of a stack. */
export async function overlayOf(
  stack: readonly (readonly string[])[],
  count = stack.length,
  options: Partial<ConstructorParameters<typeof Overlay>[0]> = {},
): Promise<Overlay> {
  const overlay = new Overlay({ ...options, layers: stack.length });
  for (let layer = stack.length - 1; layer >= stack.length - count; layer--) {
    const list = overlay.list(layer);
    for (const one of layerOf(stack[layer] ?? [])) list.add(one);
    await overlay.addLayer(list);
  }
  return overlay;
}

/** Lists the visible files of a view with the layer and position of their content: `/path 1:0`. */
export async function filesOf(overlay: Overlay, view: 'overlayfs' | 'extraction'): Promise<string[]> {
  const files = await overlay.files(() => true);
  return files
    .flatMap(({ names, differs, entry }) =>
      (differs?.[view] ?? names).map((name) => `${name} ${entry.layer}:${entry.index}`),
    )
    .toSorted();
}

const names = fc.constantFrom('a', 'b', 'c');
/** A path of few names, so that entries collide. */
export const anyPath = fc.array(names, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
const entry = fc.oneof(
  { weight: 4, arbitrary: anyPath },
  { weight: 4, arbitrary: anyPath.map((name) => `${name}/`) },
  { weight: 2, arbitrary: fc.tuple(anyPath, anyPath).map(([name, target]) => `${name} -> ${target}`) },
  { weight: 1, arbitrary: fc.tuple(anyPath, anyPath).map(([name, target]) => `${name} -> /${target}`) },
  { weight: 2, arbitrary: fc.tuple(anyPath, anyPath).map(([name, target]) => `${name} => ${target}`) },
  { weight: 2, arbitrary: anyPath.map((name) => name.replace(/([^/]+)$/, '.wh.$1')) },
  { weight: 1, arbitrary: anyPath.map((name) => `${name}/.wh..wh..opq`) },
);
/** Layers, base first, in the short form. */
export const anyStack = fc.array(fc.array(entry, { maxLength: 7 }), { minLength: 2, maxLength: 4 });

const typeFlags: Partial<Record<ListedEntry['type'], string>> = {
  directory: '5',
  symlink: '2',
  hardlink: '1',
  fifo: '6',
};

/** Builds the tar of a layer; the content of each file is its layer and position, such as `1:0`. */
export function tarOf(layer: number, entries: readonly ListedEntry[]): Buffer {
  const blocks = entries.map(({ path, type, linkName }, index) =>
    entryBlocks(
      {
        name: path,
        type: typeFlags[type] ?? '0',
        link: linkName,
        mode: type === 'directory' ? 0o755 : 0o644,
      },
      type === 'file' ? `${layer}:${index}` : '',
    ),
  );
  return Buffer.concat([...blocks, endOfArchive]);
}
