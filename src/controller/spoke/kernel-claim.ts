/** The ClusterClaim that tells a hub which kernels a cluster's nodes run. KMM's hubs read this one only. */
export const kernelClaimName = 'kernel-versions.kmm.node.kubernetes.io';

/** Characters of a ClusterClaim's value (its CustomResourceDefinition). */
const maxClaimLength = 1024;
/**
 * Claims that a cluster may take. Open Cluster Management's registration agent passes 20 claims of all owners on
 * by default, the first by name.
 */
const maxClaims = 8;

/**
 * The claim's name, and after it those of the claims for what does not fit. They sort behind the first, so that
 * it is the last to be lost where an agent passes few claims on, and end as it does, so that one reserved suffix
 * names all.
 */
export const kernelClaimNames: readonly string[] = Array.from({ length: maxClaims }, (_, index) =>
  index === 0 ? kernelClaimName : `kernel-versions.part-${index + 1}.kmm.node.kubernetes.io`,
);

/** What `uname -r` can be: 64 characters at most (__NEW_UTS_LEN), and the name of a directory. */
const releasePattern = /^[A-Za-z0-9][!-.0-~]{0,63}$/;

/** What a cluster says of its kernels. */
export interface PublishedKernels {
  /** Whether there is a claim at all: without, no operator in spoke mode has run there. */
  readonly published: boolean;
  /** As `uname -r` prints them, distinct, sorted. */
  readonly releases: readonly string[];
  /** Lines of claims that are no kernel's release. */
  readonly ignored: number;
}

/**
 * Reads the kernels of `ManagedCluster.status.clusterClaims`. Clusters are not trusted: claims of other names,
 * what a claim cannot hold and lines that are no release count for nothing.
 */
export function readKernelClaims(clusterClaims: unknown): PublishedKernels {
  const values = new Map<string, string>();
  for (const claim of Array.isArray(clusterClaims) ? (clusterClaims as unknown[]) : []) {
    const { name, value } = Object(claim) as { name?: unknown; value?: unknown };
    if (typeof name !== 'string' || typeof value !== 'string') continue;
    if (kernelClaimNames.includes(name) && !values.has(name)) values.set(name, value);
  }
  const lines = [...values.values()].flatMap(linesOf);
  const releases = lines.filter((line) => releasePattern.test(line));
  return {
    published: values.size > 0,
    releases: [...new Set(releases)].toSorted(byCodeUnits),
    ignored: lines.length - releases.length,
  };
}

/** The claims that a cluster should have. */
export interface KernelClaims {
  /** Values by name, none empty. Written in this order, before others are deleted. */
  readonly claims: ReadonlyMap<string, string>;
  /** Kernels that are not told: no releases, or no room in all claims. */
  readonly omitted: readonly string[];
}

/**
 * Spreads kernels over claims. Where they fit into one, it is KMM's own, written as KMM does. Else a kernel stays
 * in the claim where it is, so that no hub sees it missing while claims are written one by one; only where there
 * is no room left, they are packed anew.
 */
export function assignKernelClaims(
  releases: Iterable<string>,
  current: ReadonlyMap<string, string>,
): KernelClaims {
  const distinct = [...new Set(releases)].toSorted(byCodeUnits);
  const valid = distinct.filter((release) => releasePattern.test(release));
  const invalid = distinct.filter((release) => !releasePattern.test(release));
  if (lengthOf(valid) <= maxClaimLength) return { claims: claimsOf([valid]), omitted: invalid };
  const kept = place(valid, stay(valid, current));
  const placed = kept.omitted.length === 0 ? kept : place(valid, emptyBins());
  return { claims: claimsOf(placed.bins), omitted: [...invalid, ...placed.omitted] };
}

/** What is to be done so that a cluster has the claims that it should have. */
export interface KernelClaimPlan {
  /** Claims to be written, before others are deleted. */
  readonly writes: readonly (readonly [name: string, value: string])[];
  readonly deletes: readonly string[];
  /** As `KernelClaims` has them. */
  readonly omitted: readonly string[];
}

/**
 * Compares the claims of a cluster with those that it should have.
 * @param releases of its nodes; empty where a node has not reported any
 * @param current values of kernel claims by name
 */
export function planKernelClaims(
  releases: readonly string[],
  current: ReadonlyMap<string, string>,
): KernelClaimPlan {
  const { claims, omitted } = assignKernelClaims(
    releases.filter((release) => release !== ''),
    current,
  );
  return {
    writes: [...claims].filter(([name, value]) => current.get(name) !== value),
    deletes: [...current.keys()].filter((name) => !claims.has(name)),
    omitted,
  };
}

/** What a claim holds, as far as a claim can hold anything. */
function linesOf(value: string): string[] {
  return value
    .slice(0, maxClaimLength)
    .split('\n')
    .filter((line) => line !== '');
}

/** The kernels that are in claims already, where they are. */
function stay(releases: readonly string[], current: ReadonlyMap<string, string>): string[][] {
  const wanted = new Set(releases);
  return kernelClaimNames.map((name) =>
    linesOf(current.get(name) ?? '').filter((release) => wanted.delete(release)),
  );
}

/** Puts each kernel that is in no bin into the first with room for it. */
function place(releases: readonly string[], bins: string[][]): { bins: string[][]; omitted: string[] } {
  const present = new Set(bins.flat());
  const omitted: string[] = [];
  for (const release of releases.filter((one) => !present.has(one))) {
    const bin = bins.find((one) => lengthOf([...one, release]) <= maxClaimLength);
    if (bin === undefined) omitted.push(release);
    else bin.push(release);
  }
  return { bins, omitted };
}

function emptyBins(): string[][] {
  return kernelClaimNames.map(() => []);
}

function claimsOf(bins: readonly (readonly string[])[]): Map<string, string> {
  const named = kernelClaimNames.map((name, index) => ({
    name,
    value: (bins[index] ?? []).toSorted(byCodeUnits).join('\n'),
  }));
  return new Map(named.filter(({ value }) => value !== '').map(({ name, value }) => [name, value]));
}

/** Releases are ASCII, so characters are bytes. */
function lengthOf(releases: readonly string[]): number {
  return releases.reduce((sum, release) => sum + release.length + 1, -1);
}

/** The order of Go's sort.Strings: not the language's. */
function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
