import type { PodTemplate } from '../../api/module/pod-template.ts';
import type { BuilderName } from '../../builder/builder.ts';
import { builders } from '../../builder/builders.ts';
import type { DriverToolkitTable } from '../../builder/driver-toolkit.ts';
import type { ProxySettings, TrustedCertificates } from '../../builder/job-facts.ts';
import { readEnvironment, type Environment, type OperatorEnvironment } from './environment.ts';
import { configurationError } from './errors.ts';
import { readConfigurationFile } from './read-file.ts';
import type { ConfigurationFile } from './schema.ts';
import type { BindAddress } from './values.ts';

/** All that the operator was told. Durations are milliseconds. */
export interface OperatorConfiguration {
  /** The operator's own. */
  readonly namespace: string;
  /** A hub builds and signs for this cluster. */
  readonly managed: boolean;
  /** Undefined: no health probes. */
  readonly healthProbe: BindAddress | undefined;
  readonly metrics: MetricsSettings;
  readonly webhook: WebhookSettings;
  readonly leaderElection: LeaderElectionSettings;
  readonly job: JobSettings;
  readonly build: BuildSettings;
  readonly sign: SignSettings;
  readonly driverToolkit: { readonly images: DriverToolkitTable };
  readonly registry: RegistrySettings;
  readonly hub: HubSettings;
  readonly proxy: ProxySettings;
  /** Keys of the file that are accepted and change nothing. */
  readonly withoutEffect: readonly string[];
}

export interface MetricsSettings {
  /** Undefined: no metrics. */
  readonly address: BindAddress | undefined;
  /** TLS, with a certificate of its own. */
  readonly secureServing: boolean;
  /** Readers must be allowed to get /metrics by the cluster's RBAC. */
  readonly enableAuthnAuthz: boolean;
}

export interface WebhookSettings {
  readonly port: number;
  /** Folder with tls.crt and tls.key. Undefined: the webhook makes its certificates. */
  readonly certificateFolder: string | undefined;
}

export interface LeaderElectionSettings {
  readonly enabled: boolean;
  /** Name of the Lease. */
  readonly resourceId: string;
  readonly leaseDuration: number;
  readonly renewDeadline: number;
  readonly retryPeriod: number;
}

/** How Jobs of both kinds are treated. */
export interface JobSettings {
  /** How long a Job that succeeded is kept. */
  readonly gcDelay: number;
  /** Tries after the first. */
  readonly backoffLimit: number;
  /** Pause before the second try; each further one is twice as long. */
  readonly backoff: number;
  /** How long a Job may run. */
  readonly deadline: number;
}

export interface BuildSettings {
  readonly builder: BuilderName;
  /** Of each builder: Modules may ask for another than the configured one. */
  readonly images: Readonly<Record<BuilderName, string>>;
  /** Build pods get user namespaces. */
  readonly userNamespaces: boolean;
  readonly podTemplate: PodTemplate | undefined;
}

export interface SignSettings {
  /** Undefined: nobody told, and Modules with a sign section cannot be ready. */
  readonly image: string | undefined;
  readonly podTemplate: PodTemplate | undefined;
}

/** Who decides when a hub's Jobs run: it does, by their number, or Kueue. */
export type HubSettings =
  | { readonly maxConcurrentJobs: number }
  /** Name of a LocalQueue in the operator's namespace. */
  | { readonly kueueQueue: string };

export interface RegistrySettings {
  /** In the operator's namespace. */
  readonly trustedCertificates: TrustedCertificates | undefined;
  /** How long a look at an image is good for. */
  readonly checkInterval: number;
}

const second = 1000;
const minute = 60 * second;

/** The Leases of KMM, so that the two never work side by side. */
const defaultResourceId = 'kmm.sigs.x-k8s.io';
const defaultHubResourceId = 'kmm-hub.sigs.x-k8s.io';
const defaultMaxConcurrentJobs = 10;
const defaultHealthProbe: BindAddress = { host: undefined, port: 8081 };
const defaultMetrics: BindAddress = { host: '0.0.0.0', port: 8443 };
const defaultWebhookPort = 9443;

export interface LoadOptions {
  /** It is for the operator of a hub. @default false */
  readonly hub?: boolean | undefined;
}

/**
 * Reads the text of `controller_config.yaml` (empty: all defaults) and the environment.
 * @throws ConfigurationError that names each key or variable that is wrong
 */
export function loadConfiguration(
  text: string,
  environment: Environment,
  { hub = false }: LoadOptions = {},
): OperatorConfiguration {
  const { file, withoutEffect } = readConfigurationFile(text);
  const variables = readEnvironment(environment);
  return {
    namespace: variables.namespace,
    managed: variables.managed,
    ...servers(file),
    leaderElection: leaderElection(file.leaderElection ?? {}, hub ? defaultHubResourceId : defaultResourceId),
    job: job(file.job ?? {}),
    ...images(file, variables),
    driverToolkit: { images: new Map(Object.entries(file.driverToolkit?.images ?? {})) },
    registry: {
      trustedCertificates: file.registry?.trustedCertificates,
      checkInterval: file.registry?.checkInterval ?? 10 * minute,
    },
    hub: hubSettings(file.hub ?? {}),
    proxy: variables.proxy,
    withoutEffect,
  };
}

function servers(
  file: ConfigurationFile,
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
      certificateFolder: webhook.certDir,
    },
  };
}

/** Null turns a server off. */
function address(
  one: BindAddress | null | undefined,
  other: BindAddress | null | undefined,
  missing: BindAddress,
): BindAddress | undefined {
  const given = one === undefined ? other : one;
  return given === undefined ? missing : (given ?? undefined);
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
        // The variable comes from KMM, where it is Kaniko's image.
        kaniko: kanikoImage ?? builders.kaniko.defaultImage,
        ...(build.image === undefined ? {} : { [builder]: build.image }),
      },
      userNamespaces: build.userNamespaces ?? false,
      podTemplate: build.podTemplate,
    },
    sign: { image: sign.image ?? signImage, podTemplate: sign.podTemplate },
  };
}
