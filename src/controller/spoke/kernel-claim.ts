/** The ClusterClaim that lists the kernels of a cluster's nodes for a hub. KMM's hubs read only this one. */
export const kernelClaimName = 'kernel-versions.kmm.node.kubernetes.io';

/** The longest value of a ClusterClaim, in characters (by its CustomResourceDefinition). */
const maxClaimLength = 1024;
/**
 * The most claims of a cluster. By default, Open Cluster Management's registration agent forwards 20 claims
 * of all owners, the first by name.
 */
const maxClaims = 8;

/**
 * The claim's name, followed by the names of the claims for what does not fit. They sort after the first, which
 * is therefore the last to be lost if an agent forwards only a few claims, and have the same suffix, so that one
 * reserved suffix matches all.
 */
export const kernelClaimNames: readonly string[] = Array.from({ length: maxClaims }, (_, index) =>
  index === 0 ? kernelClaimName : `kernel-versions.part-${index + 1}.kmm.node.kubernetes.io`,
);

/** The form of `uname -r`: at most 64 characters (__NEW_UTS_LEN), and a directory name. */
const releasePattern = /^[A-Za-z0-9][!-.0-~]{0,63}$/;

/** The kernels that a cluster has published. */
export interface PublishedKernels {
  /** Whether there is any claim: without one, no operator in spoke mode has run there. */
  readonly published: boolean;
  /** As `uname -r` prints them, distinct, sorted. */
  readonly releases: readonly string[];
  /** The number of lines in claims that are not a kernel release. */
  readonly ignored: number;
}

/**
 * Reads the kernels from `ManagedCluster.status.clusterClaims`. Clusters are not trusted: claims of other
 * names, text beyond the length of a claim, and lines that are not a release are ignored.
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

/** The desired claims of a cluster. */
export interface KernelClaims {
  /** Values by name, none empty. They are written in this order, before others are deleted. */
  readonly claims: ReadonlyMap<string, string>;
  /** Kernels that are not published: those that are not releases, or that do not fit into the claims. */
  readonly omitted: readonly string[];
}

/**
 * Distributes kernels over claims. If they fit into one, it is KMM's own, written as KMM does. Otherwise a
 * kernel stays in its claim, so that no hub sees it missing while claims are written one by one; all are
 * repacked only if there is no room left.
 */
export function assignKernelClaims(
  releases: Iterable<string>,
  current: ReadonlyMap<string, string>,
): KernelClaims {
  const distinct = [...new Set(releases)].toSorted(byCodeUnits);
  const valid = distinct.filter((release) => releasePattern.test(release));
  const invalid = distinct.filter((release) => !releasePattern.test(release));
  if (lengthOf(valid) <= maxClaimLength) return { claims: claimsOf([valid]), omitted: invalid };
  const inPlace = fillBins(valid, currentBins(valid, current));
  const filled = inPlace.omitted.length === 0 ? inPlace : fillBins(valid, emptyBins());
  return { claims: claimsOf(filled.bins), omitted: [...invalid, ...filled.omitted] };
}

/** The changes that give a cluster its desired claims. */
export interface KernelClaimPlan {
  /** Claims to write, before others are deleted. */
  readonly writes: readonly (readonly [name: string, value: string])[];
  readonly deletes: readonly string[];
  /** As in `KernelClaims`. */
  readonly omitted: readonly string[];
}

/**
 * Compares the claims of a cluster with the desired ones.
 * @param releases of its nodes; empty for a node that has not reported one
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

/** Returns the lines of a claim, up to the longest value that a claim can have. */
function linesOf(value: string): string[] {
  return value
    .slice(0, maxClaimLength)
    .split('\n')
    .filter((line) => line !== '');
}

/** Returns the kernels that are already in claims, by claim. */
function currentBins(releases: readonly string[], current: ReadonlyMap<string, string>): string[][] {
  const remaining = new Set(releases);
  return kernelClaimNames.map((name) =>
    linesOf(current.get(name) ?? '').filter((release) => remaining.delete(release)),
  );
}

/** Puts each kernel that is not in any bin into the first one with room for it. */
function fillBins(releases: readonly string[], bins: string[][]): { bins: string[][]; omitted: string[] } {
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

/** Compares as Go's sort.Strings does, not by locale. */
function byCodeUnits(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
