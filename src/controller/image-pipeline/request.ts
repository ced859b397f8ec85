import type { V1OwnerReference } from '@kubernetes/client-node';
import type { BuilderName } from '../../builder/builder.ts';
import type { ModuleTarget } from '../../builder/target.ts';
import type { EarlierState } from './image-state.ts';

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
  /** Called before a Job is made. Throws when what this request says is no longer so. */
  readonly confirm?: (() => Promise<void>) | undefined;
}
