import type { Build, RegistryTls, Sign } from '../../../api/module/build-and-sign.ts';
import type { ModuleSpec } from '../../../api/module/spec.ts';
import { nonEmpty } from '../../../api/schema/resource.ts';
import { intermediateImage } from '../../../builder/image-names.ts';
import type { Kernel } from '../../../builder/kernel.ts';
import type { ModuleName } from '../../../builder/labels.ts';
import type { BuildTarget, ModuleTarget, SignTarget } from '../../../builder/target.ts';
import { MappingError } from './errors.ts';
import { findMapping } from './find-mapping.ts';
import { mergeBuild, mergeInTreeModules, mergeSign } from './merge.ts';
import { substitute, templateVariables } from './substitute.ts';

/** The input for finding a target. */
export interface TargetQuery {
  readonly module: ModuleName;
  readonly spec: ModuleSpec;
  readonly kernel: Kernel;
  /** Whether the image is shared: then intermediate images are not named after the Module. */
  readonly shared?: boolean;
}

/**
 * Finds what a Module wants for a kernel: the mapping, with merged settings and expanded names.
 * @returns undefined if no mapping matches, so that the Module does not apply to nodes with the kernel
 * @throws MappingError, or BuilderError INVALID_IMAGE if an image to build is named by digest
 */
export function resolveTarget({ module, spec, kernel, shared }: TargetQuery): ModuleTarget | undefined {
  const loader = spec.moduleLoader;
  const found = loader === undefined ? undefined : findMapping(loader.container.kernelMappings, kernel);
  if (loader === undefined || found === undefined) return undefined;
  const { container } = loader;
  const { index, mapping } = found;
  const variables = templateVariables(kernel, module);
  const expand = (template: string): string => substitute(template, variables);
  const image = expand(
    needed(nonEmpty(mapping.containerImage) ?? nonEmpty(container.containerImage), index, 'containerImage'),
  );
  // As a whole: an inherited insecureSkipTLSVerify must not survive beside the mapping's own settings.
  const registryTls = mapping.registryTLS ?? container.registryTLS ?? {};
  const build = mergeBuild(container.build, mapping.build);
  const sign = mergeSign(container.sign, mapping.sign);
  const unsignedImage =
    sign === undefined || build === undefined
      ? undefined
      : intermediateImage(image, shared === true ? undefined : module);
  return {
    module,
    kernel,
    mapping: index,
    image,
    imagePullPolicy: nonEmpty(container.imagePullPolicy),
    registryTls,
    build: build === undefined ? undefined : buildTarget(build, unsignedImage ?? image, index),
    sign:
      sign === undefined ? undefined : signTarget(sign, { built: unsignedImage, registryTls, expand, index }),
    inTreeModulesToRemove: mergeInTreeModules(container, mapping),
    modprobe: container.modprobe,
    version: nonEmpty(container.version),
    serviceAccountName: nonEmpty(loader.serviceAccountName),
    imageRepoSecret: nonEmpty(spec.imageRepoSecret?.name),
    selector: spec.selector,
    tolerations: spec.tolerations ?? [],
    imageRebuildTriggerGeneration: spec.imageRebuildTriggerGeneration,
  };
}

function buildTarget(build: Build, image: string, index: number): BuildTarget {
  return {
    image,
    dockerfileConfigMap: needed(
      nonEmpty(build.dockerfileConfigMap?.name),
      index,
      'build.dockerfileConfigMap',
    ),
    buildArgs: build.buildArgs ?? [],
    secrets: (build.secrets ?? []).flatMap(({ name }) => nonEmpty(name) ?? []),
    baseImageRegistryTls: build.baseImageRegistryTLS ?? {},
    selector: build.selector,
    kanikoTag: nonEmpty(build.kanikoParams?.tag),
    podTemplate: build.podTemplate,
  };
}

interface SignContext {
  /** The image that is built, if any. */
  readonly built: string | undefined;
  readonly registryTls: RegistryTls;
  readonly expand: (template: string) => string;
  readonly index: number;
}

function signTarget(sign: Sign, { built, registryTls, expand, index }: SignContext): SignTarget {
  return {
    unsignedImage: built ?? expand(needed(nonEmpty(sign.unsignedImage), index, 'sign.unsignedImage')),
    unsignedImageRegistryTls: {
      ...(built === undefined ? {} : registryTls),
      ...sign.unsignedImageRegistryTLS,
    },
    keySecret: needed(nonEmpty(sign.keySecret?.name), index, 'sign.keySecret'),
    certSecret: needed(nonEmpty(sign.certSecret?.name), index, 'sign.certSecret'),
    files: (sign.filesToSign ?? []).map(expand),
    podTemplate: sign.podTemplate,
  };
}

function needed(value: string | undefined, index: number, field: string): string {
  if (value !== undefined) return value;
  throw new MappingError({
    code: 'INCOMPLETE_MAPPING',
    message: `kernelMappings[${index}].${field} is missing, and the container does not have it either`,
    facts: { mapping: index, field },
  });
}
