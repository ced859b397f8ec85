import type { NodeFacts } from '../../observe/cluster/projections.ts';

/** What nodes became by our own patches, until the cache has it: else a patch would be sent again, and its events. */
export class LatestNodes {
  readonly #patched = new Map<string, NodeFacts>();

  /** Remembers the answer to a patch. */
  keep(node: NodeFacts): void {
    this.#patched.set(node.name, node);
  }

  /** The newest that is known of a node that the cache has like this. */
  of(name: string, cached: NodeFacts | undefined): NodeFacts | undefined {
    const patched = this.#patched.get(name);
    if (cached !== undefined && patched !== undefined && isOlder(cached, patched)) return patched;
    this.#patched.delete(name);
    return cached;
  }
}

const digits = /^\d+$/;

/** Resource versions are numbers that grow (Kubernetes API concepts, "Resource versions"). */
function isOlder(one: NodeFacts, other: NodeFacts): boolean {
  const [mine, theirs] = [one.resourceVersion, other.resourceVersion];
  if (!digits.test(mine) || !digits.test(theirs)) return false;
  return BigInt(mine) < BigInt(theirs);
}
