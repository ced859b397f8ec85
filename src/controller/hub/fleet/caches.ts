import { labelKeys } from '../../../builder/labels.ts';
import type { Logger } from '../../../shared/logger.ts';
import { projectJob, projectPod, type JobFacts, type PodFacts } from '../../observe/cluster/projections.ts';
import { jobs, pods, type CustomResource, type Job, type Pod } from '../../observe/cluster/resources.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { Informer } from '../../runtime/cache/informer.ts';
import type { HubSettings } from '../../configuration/configuration.ts';
import type { PipelineServices } from '../../image-pipeline/request.ts';
import type { ImageMetrics } from '../../module/metrics.ts';
import type { ReferenceCache } from '../../observe/references/reference-cache.ts';
import type { EventRecorder } from '../../runtime/event-recorder.ts';
import { projectManagedCluster, type CachedManagedCluster } from './managed-clusters.ts';
import { projectManagedClusterModule, type CachedManagedClusterModule } from './managed-cluster-modules.ts';
import { projectManifestWork, type CachedManifestWork } from './manifest-works.ts';
import { managedClusterModules } from './managed-cluster-modules.ts';
import { managedClusters } from './managed-clusters.ts';
import { manifestWorks } from './manifest-works.ts';

/** The hub operator's view of its fleet. */
export interface HubCaches {
  /** Index `uid`. */
  readonly managedClusterModules: Informer<CustomResource, CachedManagedClusterModule>;
  readonly managedClusters: Informer<CustomResource, CachedManagedCluster>;
  /** Index `owner`: UID of the ManagedClusterModule. */
  readonly manifestWorks: Informer<CustomResource, CachedManifestWork>;
}

/** Creates the caches. They follow the hub once they run. */
export function createHubCaches(client: ApiClient, log: Logger): HubCaches {
  return {
    managedClusterModules: new Informer({
      client,
      log,
      resource: managedClusterModules,
      project: projectManagedClusterModule,
      indexes: { uid: ({ metadata }) => [metadata.uid ?? ''] },
    }),
    managedClusters: new Informer({
      client,
      log,
      resource: managedClusters,
      project: projectManagedCluster,
    }),
    manifestWorks: new Informer({
      client,
      log,
      resource: manifestWorks,
      project: projectManifestWork,
      selection: { labelSelector: labelKeys.managedClusterModule },
      indexes: { owner: ({ ownerUid }) => (ownerUid === undefined ? [] : [ownerUid]) },
    }),
  };
}

/** The hub operator's view of its Jobs. */
export interface HubJobCaches {
  /** Index `image`: value of the image label. */
  readonly jobs: Informer<Job, JobFacts>;
  /** Index `owner`: namespace/name of the Job. */
  readonly pods: Informer<Pod, PodFacts>;
}

/**
 * Creates the caches of the hub's Jobs and their pods. They follow the hub once they run.
 * @param namespace the operator's own, which has all its Jobs
 */
export function createHubJobCaches(client: ApiClient, namespace: string, log: Logger): HubJobCaches {
  return {
    jobs: new Informer({
      client,
      log,
      resource: jobs,
      project: projectJob,
      selection: { namespace, labelSelector: labelKeys.image },
      indexes: { image: ({ image }) => (image === undefined ? [] : [image]) },
    }),
    pods: new Informer({
      client,
      log,
      resource: pods,
      project: projectPod,
      selection: { namespace, labelSelector: labelKeys.jobType },
      indexes: {
        owner: ({ key, ownerName }) => (ownerName === undefined ? [] : [`${key.namespace}/${ownerName}`]),
      },
    }),
  };
}

/** The services of the hub's reconcilers. */
export interface HubContext extends Omit<PipelineServices, 'caches' | 'references' | 'admit'> {
  readonly caches: HubCaches & HubJobCaches;
  readonly references: ReferenceCache;
  readonly events: EventRecorder;
  /** The operator's own namespace, with the Jobs, and the Secrets and ConfigMaps that they use. */
  readonly namespace: string;
  readonly queue: HubSettings;
  readonly metrics?: Pick<ImageMetrics, 'observeJob'> | undefined;
}
