import type { V1OwnerReference } from '@kubernetes/client-node';
import type { BuilderName } from '../../builder/builder.ts';
import type { ModuleTarget } from '../../builder/target.ts';
import type { KernelPhase } from '../../api/module/module.ts';
import type { PodTemplate } from '../../api/module/build-and-sign.ts';
import type { DriverToolkitTable } from '../../builder/driver-toolkit.ts';
import type { LayerCacheVolume, ProxySettings, TrustedCertificates } from '../../builder/job-inputs.ts';
import type { Logger } from '../../shared/logger.ts';
import type { ClusterCaches } from '../observe/cluster/caches.ts';
import type { Job } from '../observe/cluster/resources.ts';
import type { ImageRegistry } from '../observe/images/image-registry.ts';
import type { References } from '../observe/references/fresh-references.ts';
import type { ApiClient } from '../runtime/api/client.ts';

/** A request for an image. */
export interface PipelineRequest {
  readonly target: ModuleTarget;
  /** The namespace of the Jobs, and of the Secrets and ConfigMaps that the target names. */
  readonly namespace: string;
  /** The owner of Jobs. Without one, the caller deletes them. */
  readonly owner?: V1OwnerReference | undefined;
  /** Whether Jobs are shared by all that need the image: their names do not depend on who requests it first. */
  readonly shared?: boolean | undefined;
  /** GOARCH of the nodes that will run the image. */
  readonly architectures: readonly string[];
  /** Releases of the kernels that the image is for: only one if it has to be built. */
  readonly kernels: readonly string[];
  /** `status.nodeInfo.osImage` of those nodes. */
  readonly osImages: readonly string[];
  /** Replaces the configured builder. */
  readonly builder?: BuilderName | undefined;
  /** The value of the retry annotation. */
  readonly retry?: string | undefined;
  /**
   * Whether a new imageRebuildTriggerGeneration rebuilds and re-signs an image that exists and is signed as it
   * should be. Otherwise only what is missing is made.
   */
  readonly rebuildsAlways?: boolean | undefined;
  /**
   * False: builds are only tried; nothing is pushed, and therefore nothing is signed. The final state is then
   * Pending, with the reason BuildTried or SignatureNotTried. @default true
   */
  readonly push?: boolean | undefined;
  /**
   * Whether others push the image, too: then a signature that was overwritten is not repeated, so that they do
   * not take turns. @default false
   */
  readonly isContested?: boolean | undefined;
  /** The persisted state of the image. */
  readonly earlier?: EarlierState | undefined;
  /** Called before a Job is created. Throws if the request is out of date. */
  readonly confirm?: (() => Promise<void>) | undefined;
}

/** How far an image is, worded for a status. */
export interface ImageState {
  readonly phase: KernelPhase;
  /** A CamelCase word. */
  readonly reason: string;
  /** A sentence. */
  readonly message: string;
  /** Digest that nodes may run: set if and only if the phase is Ready. */
  readonly digest?: string | undefined;
  /** Digest of the image from which the ready image was signed. */
  readonly unsignedDigest?: string | undefined;
  /** Hash of the user's input for the current build. */
  readonly inputs?: string | undefined;
  /** Name of the current or last Job. */
  readonly job?: string | undefined;
  /** Number of Jobs that failed for the current inputs. */
  readonly attempts?: number | undefined;
  /** Milliseconds until it should be checked again although nothing changed. */
  readonly requeueAfter?: number | undefined;
}

/** The persisted result of an earlier check of the image. */
export type EarlierState = Pick<ImageState, 'phase' | 'unsignedDigest' | 'inputs' | 'job' | 'attempts'> & {
  readonly message?: string | undefined;
  readonly digest?: string | undefined;
};

/** A state, and the Jobs of the current inputs: all others of the same image can be deleted. */
export interface PipelineResult {
  readonly state: ImageState;
  readonly jobs: readonly string[];
}

/** The operator's configuration of building and signing. */
export interface PipelineSettings {
  readonly builder: BuilderName;
  /** Images of builders. @default the builder's own */
  readonly builderImages?: Readonly<Partial<Record<BuilderName, string>>> | undefined;
  /** Whether the cluster supports user namespaces for pods. */
  readonly userNamespaces: boolean;
  /** Image that contains `kmm-sign`. Undefined: not configured. */
  readonly signImage: string | undefined;
  readonly buildPodTemplate?: PodTemplate | undefined;
  readonly signPodTemplate?: PodTemplate | undefined;
  /** The volume of sign Jobs for what layers contain, where the claim exists. */
  readonly layerCache?: LayerCacheVolume | undefined;
  /** The number of retries after the first Job failed. */
  readonly backoffLimit: number;
  /** Milliseconds before the first retry, doubled for each further one. */
  readonly backoff: number;
  /** Milliseconds for which successful Jobs are kept. */
  readonly gcDelay: number;
  /** Milliseconds for which Jobs are kept after their kernel is no longer in use. @default 60000 */
  readonly unusedDelay?: number | undefined;
  readonly trustedCertificates?: TrustedCertificates | undefined;
  readonly proxy?: ProxySettings | undefined;
  /** Returns the Driver Toolkit images that are known now. */
  readonly driverToolkit: () => DriverToolkitTable;
}

/** The services of the pipeline. */
export interface PipelineServices {
  readonly client: ApiClient;
  readonly caches: Pick<ClusterCaches, 'jobs' | 'pods'>;
  readonly references: References;
  readonly images: Pick<ImageRegistry, 'resolve' | 'recheckAfter' | 'verify' | 'forget'>;
  readonly settings: PipelineSettings;
  readonly log: Logger;
  /** Returns a Job to create, or undefined if it must wait. @default each Job unchanged, at once */
  readonly admit?: ((job: Job) => Job | undefined) | undefined;
  /** Milliseconds since 1970, by the clock for comparison with the API server's times. @default Date.now */
  readonly now?: (() => number) | undefined;
}
