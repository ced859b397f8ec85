import type { V1Toleration } from '@kubernetes/client-node';
import type { Modprobe } from '../api/module/modprobe.ts';
import type { PodTemplate, RegistryTls } from '../api/module/build-and-sign.ts';
import { KmmError } from '../shared/errors.ts';
import type { Kernel } from './kernel.ts';
import type { ModuleName } from './labels.ts';

/** A name and a value for the Dockerfile. */
export interface BuildArgument {
  readonly name: string;
  readonly value: string;
}

/** How the image of one kernel is built. */
export interface BuildTarget {
  /** Destination of the result: the final image, or the intermediate one if it is signed afterwards. */
  readonly image: string;
  readonly dockerfileConfigMap: string;
  /** The user's arguments. */
  readonly buildArgs: readonly BuildArgument[];
  /** Names of Secrets. */
  readonly secrets: readonly string[];
  readonly baseImageRegistryTls: RegistryTls;
  /** The nodes to build on, if they differ from those of the Module. */
  readonly selector?: Readonly<Record<string, string>> | undefined;
  readonly kanikoTag?: string | undefined;
  readonly podTemplate?: PodTemplate | undefined;
}

/** How the image of one kernel is signed. */
export interface SignTarget {
  /** The image to sign: the intermediate image, or the one that the Module names. */
  readonly unsignedImage: string;
  readonly unsignedImageRegistryTls: RegistryTls;
  /** Name of the Secret with the private key. */
  readonly keySecret: string;
  /** Name of the Secret with the certificate. */
  readonly certSecret: string;
  /** Absolute paths or globs; empty means every kernel module. */
  readonly files: readonly string[];
  readonly podTemplate?: PodTemplate | undefined;
}

/** A Module for one kernel: with the mapping found, settings merged and variables expanded. */
export interface ModuleTarget {
  readonly module: ModuleName;
  readonly kernel: Kernel;
  /** Index of the mapping that matched. */
  readonly mapping: number;
  /** The image that nodes run. */
  readonly image: string;
  readonly imagePullPolicy?: string | undefined;
  readonly registryTls: RegistryTls;
  readonly build?: BuildTarget | undefined;
  readonly sign?: SignTarget | undefined;
  readonly inTreeModulesToRemove: readonly string[];
  readonly modprobe: Modprobe;
  readonly version?: string | undefined;
  readonly serviceAccountName?: string | undefined;
  readonly imageRepoSecret?: string | undefined;
  readonly selector: Readonly<Record<string, string>>;
  readonly tolerations: readonly V1Toleration[];
  readonly imageRebuildTriggerGeneration?: number | undefined;
}

/** Why a Job cannot be created. */
export type BuilderErrorCode =
  /** The image name cannot be used for this purpose. */
  | 'INVALID_IMAGE'
  /** The Module lacks something that the Job needs. */
  | 'INCOMPLETE_MODULE'
  /** The Dockerfile uses DTK_AUTO and no Driver Toolkit image is known for the node. */
  | 'DRIVER_TOOLKIT_MISSING';

/** A target, or what it names, does not suffice for a Job. */
export class BuilderError extends KmmError<BuilderErrorCode> {
  override readonly name = 'BuilderError';
}
