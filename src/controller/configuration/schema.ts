import * as z from 'zod';
import { podTemplate } from '../../api/module/build-and-sign.ts';
import { builderNames } from '../../builder/builder.ts';
import { bindAddress, duration, group, objectName, port, positiveDuration } from './values.ts';

const text = z.string().min(1);
const jobPodTemplate = podTemplate.strict();

const leaderElection = z.strictObject({
  enabled: z.boolean().optional(),
  leaderElect: z.boolean().optional(),
  resourceID: text.optional(),
  resourceName: text.optional(),
  leaseDuration: positiveDuration.optional(),
  renewDeadline: positiveDuration.optional(),
  retryPeriod: positiveDuration.optional(),
});

const metrics = z.strictObject({
  bindAddress: bindAddress.optional(),
  enableAuthnAuthz: z.boolean().optional(),
  secureServing: z.boolean().optional(),
  disableHTTP2: z.boolean().optional(),
});

const webhook = z.strictObject({
  port: port.optional(),
  certDir: text.optional(),
  disableHTTP2: z.boolean().optional(),
});

const worker = z.strictObject({
  runAsUser: z.int().min(0).optional(),
  seLinuxType: text.optional(),
  firmwareHostPath: text.optional(),
  setFirmwareClassPath: text.optional(),
});

const job = z.strictObject({
  gcDelay: duration.optional(),
  backoffLimit: z.int().min(0).max(100).optional(),
  backoff: positiveDuration.optional(),
  deadline: positiveDuration.optional(),
});

/** The file `controller_config.yaml`: the keys of all versions of KMM, and ours. */
export const configurationFile = z.strictObject({
  apiVersion: z.string().optional(),
  kind: z.literal('ControllerManagerConfig').optional(),
  healthProbeBindAddress: bindAddress.optional(),
  health: z.strictObject({ healthProbeBindAddress: bindAddress.optional() }).optional(),
  leaderElection: leaderElection.optional(),
  metrics: metrics.optional(),
  metricsBindAddress: bindAddress.optional(),
  webhook: webhook.optional(),
  webhookPort: port.optional(),
  worker: worker.optional(),
  job: job.optional(),
  build: z
    .strictObject({
      builder: z.enum(builderNames).optional(),
      image: text.optional(),
      userNamespaces: z.boolean().optional(),
      podTemplate: jobPodTemplate.optional(),
    })
    .optional(),
  sign: z
    .strictObject({
      image: text.optional(),
      podTemplate: jobPodTemplate.optional(),
      layerCache: z.strictObject({ persistentVolumeClaim: objectName, fsGroup: group.optional() }).optional(),
    })
    .optional(),
  driverToolkit: z.strictObject({ images: z.record(z.string(), text).optional() }).optional(),
  loader: z
    .strictObject({
      image: text.optional(),
      imageVolumes: z.enum(['auto', 'always', 'never']).optional(),
      unloadTimeout: positiveDuration.optional(),
      deletionTimeout: positiveDuration.optional(),
    })
    .optional(),
  hub: z
    .strictObject({ maxConcurrentJobs: z.int().min(1).optional(), kueueQueue: text.optional() })
    .optional(),
  nodeTrust: z.strictObject({ publish: z.enum(['labels', 'nfd']) }).optional(),
  nodeFeatureDiscovery: z.strictObject({ image: text.optional() }).optional(),
  registry: z
    .strictObject({
      trustedCertificates: z.strictObject({ configMap: text, key: text }).optional(),
      checkInterval: positiveDuration.optional(),
    })
    .optional(),
});

/** The content of a valid file. Durations are in milliseconds. */
export type ConfigurationFile = z.output<typeof configurationFile>;

/** Pairs of keys that mean the same in different versions of KMM. If both are set, they must agree. */
export const sameKeys: readonly (readonly [string, string])[] = [
  ['healthProbeBindAddress', 'health.healthProbeBindAddress'],
  ['leaderElection.enabled', 'leaderElection.leaderElect'],
  ['leaderElection.resourceID', 'leaderElection.resourceName'],
  ['webhook.port', 'webhookPort'],
  ['worker.firmwareHostPath', 'worker.setFirmwareClassPath'],
];

/** Pairs of keys that exclude each other. */
export const exclusiveKeys: readonly (readonly [string, string])[] = [
  ['hub.maxConcurrentJobs', 'hub.kueueQueue'],
];

/** Keys that are not used beside another: KMM itself has shipped files with both, and different values. */
export const replacedKeys: readonly { readonly key: string; readonly by: string }[] = [
  { key: 'metricsBindAddress', by: 'metrics.bindAddress' },
];

/** Keys of KMM that are accepted and ignored here. */
export const unusedKeys: readonly string[] = [
  'metrics.disableHTTP2',
  'webhook.disableHTTP2',
  'worker.runAsUser',
];
