import type { V1EnvVar, V1Volume, V1VolumeMount } from '@kubernetes/client-node';
import type { LayerCacheVolume, ProxySettings, PullSecret, TrustedCertificates } from './job-inputs.ts';

/** A volume and where the container mounts it. */
export interface Mount {
  readonly volume: V1Volume;
  readonly mount: V1VolumeMount;
}

/** A key of a Secret or ConfigMap, mounted as a file in a read-only directory. */
export interface FileMount {
  /** Name of the volume. */
  readonly volume: string;
  /** Name of the Secret or ConfigMap. */
  readonly source: string;
  readonly key: string;
  readonly directory: string;
  readonly file: string;
}

/** Readable by any user of the container: it has only one. */
const readable = 0o444;
const certificatesDirectory = '/run/kmm-sign/authorities';

/** Path of the certificate authorities mounted by `trustedCertificatesMount`. */
export const trustedCertificatesFile = `${certificatesDirectory}/ca.crt`;

/** Mounts one key of a Secret. */
export function secretFile({ volume, source, key, directory, file }: FileMount): Mount {
  return {
    volume: {
      name: volume,
      secret: { secretName: source, items: [{ key, path: file }], defaultMode: readable },
    },
    mount: { name: volume, mountPath: directory, readOnly: true },
  };
}

/** Mounts one key of a ConfigMap. */
export function configMapFile({ volume, source, key, directory, file }: FileMount): Mount {
  return {
    volume: {
      name: volume,
      configMap: { name: source, items: [{ key, path: file }], defaultMode: readable },
    },
    mount: { name: volume, mountPath: directory, readOnly: true },
  };
}

/** Mounts a writable directory that is deleted with the pod. */
export function scratch(name: string, directory: string): Mount {
  return { volume: { name, emptyDir: {} }, mount: { name, mountPath: directory } };
}

/** Where a sign Job keeps what layers contain. */
export const layerCacheDirectory = '/run/kmm-sign/cache';

/** Mounts a volume that outlives the pod, for what layers contain. */
export function layerCacheMount(volume: LayerCacheVolume | undefined): Mount[] {
  if (volume === undefined) return [];
  const name = 'layer-cache';
  return [
    {
      volume: { name, persistentVolumeClaim: { claimName: volume.claim } },
      mount: { name, mountPath: layerCacheDirectory },
    },
  ];
}

/**
 * Mounts Secrets of a build, each as a directory below /run/secrets. Volumes are numbered because names may
 * be too long or contain dots.
 */
export function buildSecrets(names: readonly string[]): Mount[] {
  return names.map((secretName, index) => ({
    volume: { name: `build-secret-${index}`, secret: { secretName } },
    mount: { name: `build-secret-${index}`, mountPath: buildSecretDirectory(secretName), readOnly: true },
  }));
}

/** Returns where a build sees a Secret. */
export function buildSecretDirectory(name: string): string {
  return `/run/secrets/${name}`;
}

/** Mounts a pull secret as a Docker configuration file. */
export function pullSecretFile(secret: PullSecret, mount: Omit<FileMount, 'source' | 'key'>): Mount {
  return secretFile({ ...mount, source: secret.name, key: secret.key ?? '.dockerconfigjson' });
}

/** Where builds and module loaders see the node's /lib/modules: images may link to modules in it. */
export const hostModulesDirectory = '/host/lib/modules';

/** Mounts the node's /lib/modules, read-only, for depmod to find dependencies that are in the kernel's tree. */
export function hostModules(): Mount {
  const name = 'node-lib-modules';
  return {
    volume: { name, hostPath: { path: '/lib/modules' } },
    mount: { name, mountPath: hostModulesDirectory, readOnly: true },
  };
}

/** Mounts the certificate authorities of registries. */
export function trustedCertificatesMount(certificates: TrustedCertificates | undefined): Mount[] {
  if (certificates === undefined) return [];
  return [
    configMapFile({
      volume: 'authorities',
      source: certificates.configMap,
      key: certificates.key,
      directory: certificatesDirectory,
      file: 'ca.crt',
    }),
  ];
}

/** Returns the environment variables of programs behind a proxy, in both common spellings. */
export function proxyEnvironment(proxy: ProxySettings | undefined): V1EnvVar[] {
  const values: readonly (readonly [string, string | undefined])[] = [
    ['HTTP_PROXY', proxy?.httpProxy],
    ['HTTPS_PROXY', proxy?.httpsProxy],
    ['NO_PROXY', proxy?.noProxy],
  ];
  return values.flatMap(([name, value]) =>
    value === undefined
      ? []
      : [
          { name, value },
          { name: name.toLowerCase(), value },
        ],
  );
}
