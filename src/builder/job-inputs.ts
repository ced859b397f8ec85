import type { V1OwnerReference } from '@kubernetes/client-node';
import type { PodTemplate } from '../api/module/build-and-sign.ts';

/** A Secret with registry credentials. */
export interface PullSecret {
  readonly name: string;
  /** @default `.dockerconfigjson` */
  readonly key?: '.dockerconfigjson' | '.dockercfg';
}

/** Certificate authorities to trust for registries. */
export interface TrustedCertificates {
  readonly configMap: string;
  /** Key that holds the certificates in PEM. */
  readonly key: string;
}

/** Values of the environment variables with the same names. */
export interface ProxySettings {
  readonly httpProxy?: string;
  readonly httpsProxy?: string;
  readonly noProxy?: string;
}

/** The inputs of a Job apart from the Module. */
export interface JobInputs {
  /** Where the Job runs: the namespace of the Module, or on a hub, that of the operator. */
  readonly namespace: string;
  readonly owner?: V1OwnerReference;
  /** The work may be shared by several Modules: neither its identity nor its name mentions one. */
  readonly shared?: boolean;
  /** The image that does the work, pinned. */
  readonly image: string;
  readonly pullSecrets: readonly PullSecret[];
  readonly trustedCertificates?: TrustedCertificates;
  readonly proxy?: ProxySettings;
  /** The operator's defaults. The Module's settings take precedence. */
  readonly podTemplate?: PodTemplate;
  /** Number of earlier attempts with the same inputs. */
  readonly attempt: number;
  /** The value of the Module's retry annotation. */
  readonly retry?: string;
}

/** The inputs of a build apart from the Module. */
export interface BuildInputs extends JobInputs {
  /** Text of the Dockerfile. */
  readonly dockerfile: string;
  /** Key of the ConfigMap that holds it. */
  readonly dockerfileKey: string;
  /** GOARCH of the nodes that will run the image. */
  readonly architecture: string;
  /** Image for DTK_AUTO, if the Dockerfile uses it. */
  readonly driverToolkitImage?: string;
  /** Entries of the Driver Toolkit table that are missing. */
  readonly driverToolkitMissing?: readonly string[];
  /** Whether the cluster supports user namespaces for pods. */
  readonly userNamespaces: boolean;
  /** False: only check whether it builds. */
  readonly push: boolean;
}

/** A volume on which sign Jobs keep what layers contain. */
export interface LayerCacheVolume {
  /** Name of a PersistentVolumeClaim in the namespace of the Job. */
  readonly claim: string;
  /** The group that owns the volume. Undefined: the cluster decides, as OpenShift does, or nobody. */
  readonly fsGroup: number | undefined;
}

/** The inputs of signing apart from the Module. */
export interface SignInputs extends JobInputs {
  /** Digest of the unsigned image. */
  readonly sourceDigest: string;
  /** SHA-256 of the certificate, in hexadecimal. */
  readonly certificateFingerprint: string;
  /** The result does not depend on it, nor does the identity of the Job. */
  readonly layerCache?: LayerCacheVolume | undefined;
}

/** Keys of a ConfigMap that may hold the Dockerfile, in order of preference. */
export const dockerfileKeys = ['dockerfile', 'Dockerfile'] as const;

/** Finds the Dockerfile in the data of a ConfigMap. */
export function findDockerfile(
  data: Readonly<Record<string, string>> | undefined,
): { readonly key: string; readonly text: string } | undefined {
  for (const key of dockerfileKeys) {
    const text = data?.[key];
    if (text !== undefined) return { key, text };
  }
  return undefined;
}
