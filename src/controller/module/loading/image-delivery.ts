import type { V1Container, V1Volume } from '@kubernetes/client-node';
import type { Modprobe } from '../../../api/module/modprobe.ts';
import { nonEmpty } from '../../../api/schema/resource.ts';
import type { NodeFacts } from '../../observe/cluster/projections.ts';
import { escapeReferences } from './loader-environment.ts';
import { copyProgram, loaderDirectories } from './loader-program.ts';
import type { LoaderSettings } from './settings.ts';

/** How the files of a module's image get into its loader: mounted, or copied by an init container. */
export type ImageDelivery = 'volume' | 'copy';

/** Image volumes are on by default from this minor version of Kubernetes 1 on. */
const minorWithImageVolumes = 35;

/** Chooses the delivery for nodes. Mounting takes no space and needs nothing of the image. */
export function deliveryFor(
  nodes: readonly Pick<NodeFacts, 'kubeletVersion' | 'containerRuntimeVersion'>[],
  setting: LoaderSettings['imageVolumes'],
): ImageDelivery {
  if (setting !== 'auto') return setting === 'always' ? 'volume' : 'copy';
  return nodes.length > 0 && nodes.every(hasImageVolumes) ? 'volume' : 'copy';
}

/** Returns whether a node can mount images: its kubelet and its container runtime must be new enough. */
function hasImageVolumes({
  kubeletVersion,
  containerRuntimeVersion,
}: Pick<NodeFacts, 'kubeletVersion' | 'containerRuntimeVersion'>): boolean {
  const [, major = 0, minor = 0] = (/^v?(\d+)\.(\d+)/.exec(kubeletVersion) ?? []).map(Number);
  if (major < 1 || (major === 1 && minor < minorWithImageVolumes)) return false;
  // CRI-O has the version of its Kubernetes.
  if (containerRuntimeVersion.startsWith('cri-o://')) return true;
  const [, first = 0, second = 0] = (
    /^containerd:\/\/v?(\d+)\.(\d+)/.exec(containerRuntimeVersion) ?? []
  ).map(Number);
  return first > 2 || (first === 2 && second >= 1);
}

/** Parts of a pod that bring an image's files to `loaderDirectories.image`. */
export interface DeliveryParts {
  readonly volumes: readonly V1Volume[];
  readonly initContainers: readonly V1Container[];
}

/** Name of the volume with the image's files. */
export const imageVolume = 'module-image';

const toolsVolume = 'tools';

/** Returns the parts that bring an image's files. */
export function deliveryParts(
  delivery: ImageDelivery,
  image: { readonly reference: string; readonly pullPolicy: string | undefined },
  { loaderImage, modprobe }: { readonly loaderImage: string; readonly modprobe: Modprobe },
): DeliveryParts {
  const { reference, pullPolicy } = image;
  if (delivery === 'volume') {
    const source = pullPolicy === undefined ? { reference } : { reference, pullPolicy };
    return { volumes: [{ name: imageVolume, image: source }], initContainers: [] };
  }
  const securityContext = { allowPrivilegeEscalation: false, runAsUser: 0 };
  const tools = { name: toolsVolume, mountPath: loaderDirectories.tools };
  return {
    volumes: [
      { name: imageVolume, emptyDir: {} },
      { name: toolsVolume, emptyDir: {} },
    ],
    initContainers: [
      {
        // The module's image may have no programs: this one needs no libraries.
        name: 'copy-tool',
        image: loaderImage,
        command: ['cp', '/bin/busybox', `${loaderDirectories.tools}/busybox`],
        securityContext,
        volumeMounts: [tools],
      },
      {
        name: 'copy-module',
        image: reference,
        ...(pullPolicy === undefined ? {} : { imagePullPolicy: pullPolicy }),
        command: [
          `${loaderDirectories.tools}/busybox`,
          'sh',
          '-c',
          escapeReferences(copyProgram),
          'copy-module',
        ],
        args: pathsOf(modprobe).map(escapeReferences),
        securityContext,
        volumeMounts: [
          Object.assign({}, tools, { readOnly: true }),
          { name: imageVolume, mountPath: loaderDirectories.image },
        ],
      },
    ],
  };
}

/** Returns the paths of the image that a loader may need: `/` means everything. */
function pathsOf({ dirName, firmwarePath, modprobedDir, args, rawArgs }: Modprobe): string[] {
  const words = [args, rawArgs].flatMap((given) => [...(given?.load ?? []), ...(given?.unload ?? [])]);
  const named = words.flatMap((word) => /\/.*$/.exec(word)?.[0] ?? []);
  const firmware = nonEmpty(firmwarePath);
  return [
    ...new Set(
      [
        ...(rawArgs?.load === undefined ? [`${dirName}/lib/modules`] : ['/lib/modules', '/usr/lib/modules']),
        ...(firmware === undefined ? [] : [`/${firmware}`]),
        ...(nonEmpty(modprobedDir) === undefined ? [] : [modprobedDir ?? '']),
        ...['/etc', '/lib', '/usr/lib', '/usr/local/lib'].map((directory) => `${directory}/modprobe.d`),
        ...named,
      ].map((path) => path.replaceAll(/\/{2,}/g, '/').replace(/(?<=.)\/$/, '')),
    ),
  ].filter((path) => path.startsWith('/'));
}
