import type { NodeFacts } from '../observe/cluster/projections.ts';
import { selects } from '../observe/cluster/resources.ts';

/** What kernels' releases end in, as GOARCH names it. */
const endings: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  amd64: 'amd64',
  aarch64: 'arm64',
  arm64: 'arm64',
  ppc64le: 'ppc64le',
  s390x: 's390x',
};

/**
 * The architectures that a kernel would run on, as GOARCH names them: what its release ends in, else those of the
 * nodes that the Module selects, else those of all nodes.
 */
export function architecturesFor(
  release: string,
  selector: Readonly<Record<string, string>>,
  nodes: readonly NodeFacts[],
): readonly string[] {
  const stated = endings[release.replace(/\+$/, '').split(/[.-]/).at(-1) ?? ''];
  if (stated !== undefined) return [stated];
  const selected = nodes.filter(({ labels }) => selects(selector, labels));
  const architectures = (selected.length > 0 ? selected : nodes)
    .map(({ architecture }) => architecture)
    .filter((architecture) => architecture !== '');
  return architectures.length === 0 ? ['amd64'] : [...new Set(architectures)].toSorted();
}
