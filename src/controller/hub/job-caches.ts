import { labelKeys } from '../../builder/labels.ts';
import type { Logger } from '../../shared/log.ts';
import { projectJob, projectPod, type JobFacts, type PodFacts } from '../observe/cluster/projections.ts';
import { jobs, pods, type Job, type Pod } from '../observe/cluster/resources.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import { Informer } from '../runtime/cache/informer.ts';

/** What the hub operator knows of its Jobs. */
export interface HubJobCaches {
  /** Index `image`: value of the image label. */
  readonly jobs: Informer<Job, JobFacts>;
  /** Index `owner`: namespace/name of the Job. */
  readonly pods: Informer<Pod, PodFacts>;
}

export interface HubJobCachesOptions {
  readonly client: ApiClient;
  readonly log: Logger;
  /** The operator's own: all its Jobs are there. */
  readonly namespace: string;
}

/** Makes the caches of the hub's Jobs and their pods. They follow the hub once they run. */
export function createHubJobCaches({ client, log, namespace }: HubJobCachesOptions): HubJobCaches {
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
