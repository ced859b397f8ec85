import fc from 'fast-check';
import type { LayerEntry } from '../../src/registry/layer/layer.ts';
import { endOfArchive, entryBlocks } from './tar-blocks.ts';

/**
 * Entries in short: `d/` directory, `f` file, `l -> t` symbolic link, `h => t` hard link, `!p` fifo.
 */
export function layerOf(layer: number, entries: readonly string[]): LayerEntry[] {
  return entries.map((text, index) => {
    const place = { layer, index };
    const [name = '', symlink] = text.split(' -> ');
    if (symlink !== undefined) return { ...place, path: name, type: 'symlink', link: symlink };
    const [hardlink = '', link] = text.split(' => ');
    if (link !== undefined) return { ...place, path: hardlink, type: 'hardlink', link };
    if (text.endsWith('/')) return { ...place, path: text.slice(0, -1), type: 'directory' };
    if (text.startsWith('!')) return { ...place, path: text.slice(1), type: 'fifo' };
    return { ...place, path: text, type: 'file' };
  });
}

const names = fc.constantFrom('a', 'b', 'c');
/** A path of few names, so that entries meet. */
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

const typeFlags: Partial<Record<LayerEntry['type'], string>> = {
  directory: '5',
  symlink: '2',
  hardlink: '1',
  fifo: '6',
};

/** The tar of a layer; the content of each file is its layer and place, such as `1:0`. */
export function tarOf(entries: readonly LayerEntry[]): Buffer {
  const blocks = entries.map(({ path, type, link, layer, index }) =>
    entryBlocks(
      {
        name: path,
        type: typeFlags[type] ?? '0',
        link: link ?? '',
        mode: type === 'directory' ? 0o755 : 0o644,
      },
      type === 'file' ? `${layer}:${index}` : '',
    ),
  );
  return Buffer.concat([...blocks, endOfArchive]);
}
