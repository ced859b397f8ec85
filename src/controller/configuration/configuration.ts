import type { PodTemplate } from '../../api/module/build-and-sign.ts';
import type { BuilderName } from '../../builder/builder.ts';
import { builders } from '../../builder/build-job.ts';
import type { DriverToolkitTable } from '../../builder/driver-toolkit.ts';
import type { LayerCacheVolume, ProxySettings, TrustedCertificates } from '../../builder/job-inputs.ts';
import { readEnvironment, type Environment, type OperatorEnvironment } from './environment.ts';
import { configurationError } from './errors.ts';
import { readConfigurationFile } from './read-file.ts';
import type { ConfigurationFile } from './schema.ts';
import type { BindAddress } from './values.ts';

/** The complete configuration of the operator. Durations are in milliseconds. */
export interface OperatorConfiguration {
  /** The operator's own namespace. */
  readonly namespace: string;
  /** Whether a hub builds and signs for this cluster. */
  readonly managed: boolean;
  /** Undefined: no health probes. */
  readonly healthProbe: BindAddress | undefined;
  readonly metrics: MetricsSettings;
  readonly webhook: WebhookSettings;
  readonly leaderElection: LeaderElectionSettings;
  readonly job: JobSettings;
  readonly build: BuildSettings;
  readonly sign: SignSettings;
  readonly loader: LoaderConfiguration;
  readonly driverToolkit: { readonly images: DriverToolkitTable };
  readonly registry: RegistrySettings;
  readonly hub: HubSettings;
  readonly nodeFeatureDiscovery: NodeFeatureDiscoverySettings;
  /** Who publishes what nodes trust. Undefined: nobody looks. */
  readonly nodeTrust: { readonly publish: 'labels' | 'nfd' } | undefined;
  readonly proxy: ProxySettings;
  /** Keys of the file that are accepted and ignored. */
  readonly ignoredKeys: readonly string[];
}

export interface MetricsSettings {
  /** Undefined: no metrics. */
  readonly address: BindAddress | undefined;
  /** Whether to use TLS, with a certificate generated at the start. */
  readonly secureServing: boolean;
  /** Whether the cluster's RBAC must allow readers to get /metrics. */
  readonly enableAuthnAuthz: boolean;
}

export interface WebhookSettings {
  readonly port: number;
  /** Directory with tls.crt and tls.key. Undefined: the webhook creates its certificates. */
  readonly certificateDirectory: string | undefined;
}

export interface LeaderElectionSettings {
  readonly enabled: boolean;
  /** Name of the Lease. */
  readonly resourceId: string;
  readonly leaseDuration: number;
  readonly renewDeadline: number;
  readonly retryPeriod: number;
}

/** Settings for Jobs of both kinds. */
export interface JobSettings {
  /** How long a successful Job is kept. */
  readonly gcDelay: number;
  /** The number of retries. */
  readonly backoffLimit: number;
  /** Pause before the first retry, doubled for each further one. */
  readonly backoff: number;
  /** How long a Job may run. */
  readonly deadline: number;
}

export interface BuildSettings {
  readonly builder: BuilderName;
  /** By builder: Modules may select another than the configured one. */
  readonly images: Readonly<Record<BuilderName, string>>;
  /** Whether build pods run in user namespaces. */
  readonly userNamespaces: boolean;
  readonly podTemplate: PodTemplate | undefined;
}

export interface SignSettings {
  /** Undefined: not configured, so Modules with a sign section cannot become ready. */
  readonly image: string | undefined;
  readonly podTemplate: PodTemplate | undefined;
  /** Undefined: each Job reads all layers that count. */
  readonly layerCache: LayerCacheVolume | undefined;
}

/** The settings of module loaders. */
export interface LoaderConfiguration {
  /** Undefined: not configured, so modules are not loaded. */
  readonly image: string | undefined;
  /** Whether modules' images are mounted as volumes: if all nodes support it, or always, or never. */
  readonly imageVolumes: 'auto' | 'always' | 'never';
  /** The node's directory for firmware, to which the kernel's search path is set. Undefined: left alone. */
  readonly firmwareHostPath: string | undefined;
  readonly seLinuxType: string;
  /** How long a pod that ends tries to unload its module. */
  readonly unloadTimeout: number;
  /** How long a deleted Module is kept while its module is still in kernels. */
  readonly deletionTimeout: number;
}

/** The settings of `kmm-operator nfd`. */
export interface NodeFeatureDiscoverySettings {
  /** The image of NFD for all resources, whatever they ask for. Undefined: what they ask for, or the default. */
  readonly image: string | undefined;
}

/** The program that a configuration is for: `kmm-operator run`, `hub` or `nfd`. */
export type OperatorKind = 'cluster' | 'hub' | 'nfd';

/** What schedules a hub's Jobs: the hub itself, by their number, or Kueue. */
export type HubSettings =
  | { readonly maxConcurrentJobs: number }
  /** Name of a LocalQueue in the operator's namespace. */
  | { readonly kueueQueue: string };

export interface RegistrySettings {
  /** In the operator's namespace. */
  readonly trustedCertificates: TrustedCertificates | undefined;
  /** How long the result of checking an image is cached. */
  readonly checkInterval: number;
}

const second = 1000;
const minute = 60 * second;

/** The first two are the Leases of KMM, so that KMM and this operator never run at the same time. */
const defaultResourceIds: Readonly<Record<OperatorKind, string>> = {
  cluster: 'kmm.sigs.x-k8s.io',
  hub: 'kmm-hub.sigs.x-k8s.io',
  nfd: 'nfd.kmm.sigs.x-k8s.io',
};
const defaultMaxConcurrentJobs = 10;
const defaultHealthProbe: BindAddress = { host: undefined, port: 8081 };
const defaultMetrics: BindAddress = { host: '0.0.0.0', port: 8443 };
const defaultWebhookPort = 9443;

/**
 * Loads the configuration from the text of `controller_config.yaml` (empty: all defaults) and the
 * environment.
 * @throws ConfigurationError that names each invalid key or variable
 */
export function loadConfiguration(
  text: string,
  environment: Environment,
  kind: OperatorKind = 'cluster',
): OperatorConfiguration {
  const { file, ignoredKeys } = readConfigurationFile(text);
  const variables = readEnvironment(environment);
  return {
    namespace: variables.namespace,
    managed: variables.managed,
    ...servers(file, variables),
    leaderElection: leaderElection(file.leaderElection ?? {}, defaultResourceIds[kind]),
    job: job(file.job ?? {}),
    ...images(file, variables),
    loader: loader(file, variables),
    driverToolkit: { images: new Map(Object.entries(file.driverToolkit?.images ?? {})) },
    registry: {
      trustedCertificates: file.registry?.trustedCertificates,
      checkInterval: file.registry?.checkInterval ?? 10 * minute,
    },
    hub: hubSettings(file.hub ?? {}),
    nodeTrust: file.nodeTrust,
    nodeFeatureDiscovery: { image: file.nodeFeatureDiscovery?.image ?? variables.nfdImage },
    proxy: variables.proxy,
    ignoredKeys,
  };
}

function servers(
  file: ConfigurationFile,
  { certificateDirectory }: Pick<OperatorEnvironment, 'certificateDirectory'>,
): Pick<OperatorConfiguration, 'healthProbe' | 'metrics' | 'webhook'> {
  const { metrics = {}, webhook = {} } = file;
  return {
    healthProbe: address(
      file.healthProbeBindAddress,
      file.health?.healthProbeBindAddress,
      defaultHealthProbe,
    ),
    metrics: {
      address: address(metrics.bindAddress, file.metricsBindAddress, defaultMetrics),
      secureServing: metrics.secureServing ?? true,
      enableAuthnAuthz: metrics.enableAuthnAuthz ?? true,
    },
    webhook: {
      port: webhook.port ?? file.webhookPort ?? defaultWebhookPort,
      certificateDirectory: webhook.certDir ?? certificateDirectory,
    },
  };
}

/** Returns the address; null turns a server off. */
function address(
  one: BindAddress | null | undefined,
  other: BindAddress | null | undefined,
  missing: BindAddress,
): BindAddress | undefined {
  const value = one === undefined ? other : one;
  return value === undefined ? missing : (value ?? undefined);
}

function hubSettings({
  kueueQueue,
  maxConcurrentJobs = defaultMaxConcurrentJobs,
}: NonNullable<ConfigurationFile['hub']>): HubSettings {
  return kueueQueue === undefined ? { maxConcurrentJobs } : { kueueQueue };
}

function leaderElection(
  file: NonNullable<ConfigurationFile['leaderElection']>,
  resourceId: string,
): LeaderElectionSettings {
  const leaseDuration = file.leaseDuration ?? 15 * second;
  const renewDeadline = file.renewDeadline ?? 10 * second;
  if (leaseDuration % second !== 0 || renewDeadline >= leaseDuration) {
    throw configurationError('The operator configuration', [
      'leaderElection.leaseDuration: must be whole seconds, and more than leaderElection.renewDeadline',
    ]);
  }
  return {
    enabled: file.enabled ?? file.leaderElect ?? true,
    resourceId: file.resourceID ?? file.resourceName ?? resourceId,
    leaseDuration,
    renewDeadline,
    retryPeriod: file.retryPeriod ?? 2 * second,
  };
}

function loader(
  file: ConfigurationFile,
  { loaderImage, signImage }: OperatorEnvironment,
): LoaderConfiguration {
  const { loader: own = {}, worker = {}, sign = {} } = file;
  return {
    // The image that signs can load, too.
    image: own.image ?? loaderImage ?? sign.image ?? signImage,
    imageVolumes: own.imageVolumes ?? 'auto',
    firmwareHostPath: worker.firmwareHostPath ?? worker.setFirmwareClassPath,
    seLinuxType: worker.seLinuxType ?? 'spc_t',
    unloadTimeout: own.unloadTimeout ?? minute,
    deletionTimeout: own.deletionTimeout ?? 15 * minute,
  };
}

function job(file: NonNullable<ConfigurationFile['job']>): JobSettings {
  return {
    gcDelay: file.gcDelay ?? 0,
    backoffLimit: file.backoffLimit ?? 3,
    backoff: file.backoff ?? 30 * second,
    deadline: file.deadline ?? 120 * minute,
  };
}

function images(
  file: ConfigurationFile,
  { signImage, kanikoImage }: OperatorEnvironment,
): Pick<OperatorConfiguration, 'build' | 'sign'> {
  const { build = {}, sign = {} } = file;
  const builder = build.builder ?? 'kaniko';
  return {
    build: {
      builder,
      images: {
        buildah: builders.buildah.defaultImage,
        // The variable comes from KMM, where it names Kaniko's image.
        kaniko: kanikoImage ?? builders.kaniko.defaultImage,
        ...(build.image === undefined ? {} : { [builder]: build.image }),
      },
      userNamespaces: build.userNamespaces ?? false,
      podTemplate: build.podTemplate,
    },
    sign: {
      image: sign.image ?? signImage,
      podTemplate: sign.podTemplate,
      layerCache: sign.layerCache && {
        claim: sign.layerCache.persistentVolumeClaim,
        fsGroup: sign.layerCache.fsGroup,
      },
    },
  };
}
