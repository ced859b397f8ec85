import type { VerifiedModule } from '../../api/preflight-validation.ts';
import type { ModuleTarget } from '../../builder/target.ts';
import type { EarlierState, PipelineRequest } from '../image-pipeline/request.ts';
import { groupByImage, type ImageGroup, wantedKernels } from '../module/wanted-kernels.ts';
import { builderOf, moduleAnnotations, rebuildsAlways } from '../module/kernel-result.ts';
import { ownerOf, type NamedModule } from '../module/named-module.ts';
import { distinct, selectNodes } from '../module/node-groups.ts';
import type { NodeFacts } from '../observe/cluster/projections.ts';
import { selects } from '../observe/cluster/resources.ts';
import type { PreflightContext, PreflightTask } from './task.ts';

/** A Module that has something to load for the kernel. */
export interface ModuleQuery {
  readonly module: NamedModule;
  readonly target: ModuleTarget;
  readonly task: PreflightTask;
  /** The tasks for all kernels. */
  readonly tasks: readonly PreflightTask[];
  /** Its persisted entry. */
  readonly earlier: VerifiedModule | undefined;
}

/** The image that a Module has for a kernel, with all kernels that share it. */
export interface PreflightImage extends ImageGroup {
  /** The kernels among them that nodes run: the Module controller works on the image for these. */
  readonly running: readonly string[];
}

/**
 * Finds the image for a kernel as the Module controller will once nodes run all requested kernels: a shared
 * image is processed once.
 */
export function imageOf(
  { caches }: PreflightContext,
  { module, target, task, tasks }: ModuleQuery,
): PreflightImage {
  const nodes = caches.nodes.list();
  const { selector, tolerations = [] } = module.spec;
  const { groups } = selectNodes(nodes, { selector, tolerations });
  const running = groups.map(({ kernel }) => kernel.release);
  const requested = tasks
    .filter(({ kernel }) => !running.includes(kernel.release))
    .map(({ kernel }) => ({
      kernel,
      architectures: architecturesFor(kernel.release, selector, nodes),
      osImages: [],
      nodes: [],
    }));
  const image = groupByImage(wantedKernels(module, [...groups, ...requested])).find(({ members }) =>
    members.some(({ kernel }) => kernel.release === task.kernel.release),
  );
  const members = image?.members ?? [];
  return {
    target: image?.target ?? target,
    members,
    running: members.map(({ kernel }) => kernel.release).filter((release) => running.includes(release)),
  };
}

/** Returns the request that the Module controller would make: the same Jobs, so nothing is built twice. */
export function requestOf(
  target: ModuleTarget,
  { module, tasks, earlier }: ModuleQuery,
  { members }: PreflightImage,
): PipelineRequest {
  const kernels = members.map(({ kernel }) => kernel.release);
  return {
    target,
    namespace: module.metadata.namespace,
    owner: ownerOf(module),
    architectures: distinct(members.flatMap(({ architectures }) => architectures)),
    kernels,
    osImages: distinct(members.flatMap(({ osImages }) => osImages)),
    builder: builderOf(module),
    retry: module.metadata.annotations?.[moduleAnnotations.retry],
    rebuildsAlways: rebuildsAlways(module),
    push: tasks.some(({ kernel, push }) => push && kernels.includes(kernel.release)),
    earlier: earlierState(earlier),
  };
}

/** Returns the same services with the Driver Toolkit images that validations name. */
export function withDriverToolkit(services: PreflightContext, { tasks }: ModuleQuery): PreflightContext {
  const named = tasks.flatMap(({ kernel, driverToolkit }) =>
    driverToolkit === undefined ? [] : [[kernel.release, driverToolkit] as const],
  );
  const { settings } = services;
  const driverToolkit = (): ReadonlyMap<string, string> => new Map([...settings.driverToolkit(), ...named]);
  return { ...services, settings: { ...settings, driverToolkit } };
}

/** Returns a Module's persisted entry as the pipeline expects it. */
export function earlierState(earlier: VerifiedModule | undefined): EarlierState | undefined {
  if (earlier === undefined) return undefined;
  const { verificationStatus, statusReason: message, job, inputs, unsignedDigest } = earlier;
  return {
    phase: verificationStatus === 'Failure' ? 'Failed' : 'Pending',
    message,
    job,
    inputs,
    unsignedDigest,
  };
}

/** GOARCH by the suffix of a kernel release. */
const architecturesBySuffix: Readonly<Record<string, string>> = {
  x86_64: 'amd64',
  amd64: 'amd64',
  aarch64: 'arm64',
  arm64: 'arm64',
  ppc64le: 'ppc64le',
  s390x: 's390x',
};

/**
 * Returns the architectures that a kernel would run on, by GOARCH: that of its release's suffix, else those
 * of the nodes that the Module selects, else those of all nodes.
 */
export function architecturesFor(
  release: string,
  selector: Readonly<Record<string, string>>,
  nodes: readonly NodeFacts[],
): readonly string[] {
  const known = architecturesBySuffix[release.replace(/\+$/, '').split(/[.-]/).at(-1) ?? ''];
  if (known !== undefined) return [known];
  const selected = nodes.filter(({ labels }) => selects(selector, labels));
  const architectures = (selected.length > 0 ? selected : nodes)
    .map(({ architecture }) => architecture)
    .filter((architecture) => architecture !== '');
  return architectures.length === 0 ? ['amd64'] : [...new Set(architectures)].toSorted();
}
