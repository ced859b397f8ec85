import type { V1OwnerReference } from '@kubernetes/client-node';
import type { BuilderName } from '../../builder/builder.ts';
import type { ModuleTarget } from '../../builder/target.ts';
import type { EarlierState } from './image-state.ts';
import type { PodTemplate } from '../../api/module/pod-template.ts';
import type { DriverToolkitTable } from '../../builder/driver-toolkit.ts';
import type { ProxySettings, TrustedCertificates } from '../../builder/job-facts.ts';
import type { Logger } from '../../shared/logger.ts';
import type { ClusterCaches } from '../observe/cluster/caches.ts';
import type { Job } from '../observe/cluster/resources.ts';
import type { ImageRegistry } from '../observe/images/image-registry.ts';
import type { ReferenceCache } from '../observe/references/reference-cache.ts';
import type { ApiClient } from '../runtime/api/client.ts';

/** An image that is wanted. */
export interface PipelineRequest {
  readonly target: ModuleTarget;
  /** Where Jobs run, and where the Secrets and ConfigMaps are that the target names. */
  readonly namespace: string;
  /** Who Jobs belong to. Without, whoever asks collects them. */
  readonly owner?: V1OwnerReference | undefined;
  /** The Jobs are for whoever wants the image: who asks first does not change their names. */
  readonly shared?: boolean | undefined;
  /** GOARCH of the nodes that will run the image. */
  readonly architectures: readonly string[];
  /** Releases of the kernels that the image is for: one, where it is to be built. */
  readonly kernels: readonly string[];
  /** `status.nodeInfo.osImage` of those nodes. */
  readonly osImages: readonly string[];
  /** In place of the configured one. */
  readonly builder?: BuilderName | undefined;
  /** The value of the retry annotation. */
  readonly retry?: string | undefined;
  /**
   * False: builds are only tried, nothing is pushed, and so nothing is signed. The state then ends as Pending, with
   * the reason BuildTried or SignatureNotTried. @default true
   */
  readonly push?: boolean | undefined;
  /** What was persisted about the image. */
  readonly earlier?: EarlierState | undefined;
  /** Called before a Job is made. Throws when the request is out of date. */
  readonly confirm?: (() => Promise<void>) | undefined;
}

/** What the operator's configuration says about building and signing. */
export interface PipelineSettings {
  readonly builder: BuilderName;
  /** Images of builders. @default the builder's own */
  readonly builderImages?: Readonly<Partial<Record<BuilderName, string>>> | undefined;
  /** The cluster gives pods user namespaces. */
  readonly userNamespaces: boolean;
  /** Image that holds `kmm-sign`. Undefined: nobody said. */
  readonly signImage: string | undefined;
  readonly buildPodTemplate?: PodTemplate | undefined;
  readonly signPodTemplate?: PodTemplate | undefined;
  /** Jobs tried again after the first failed. */
  readonly backoffLimit: number;
  /** Milliseconds before the second try; doubled before each further one. */
  readonly backoff: number;
  /** Milliseconds for which Jobs that succeeded are kept. */
  readonly gcDelay: number;
  /** Milliseconds for which Jobs are kept whose kernel nobody asks for any more. @default 60000 */
  readonly unusedDelay?: number | undefined;
  readonly trustedCertificates?: TrustedCertificates | undefined;
  readonly proxy?: ProxySettings | undefined;
  /** Driver Toolkit images as they are known at this moment. */
  readonly driverToolkit: () => DriverToolkitTable;
}

/** What the pipeline works with. */
export interface PipelineServices {
  readonly client: ApiClient;
  readonly caches: Pick<ClusterCaches, 'jobs' | 'pods'>;
  readonly references: Pick<
    ReferenceCache,
    'dockerfile' | 'certificate' | 'pullSecret' | 'serviceAccountPullSecrets'
  >;
  readonly images: Pick<ImageRegistry, 'resolve' | 'verify' | 'forget'>;
  readonly settings: PipelineSettings;
  readonly log: Logger;
  /** Returns a Job as it is to be made, or undefined: not now. @default each as it is, at once */
  readonly admit?: ((job: Job) => Job | undefined) | undefined;
  /** Milliseconds since 1970, by the clock that the API server's times are compared with. @default Date.now */
  readonly now?: (() => number) | undefined;
}
