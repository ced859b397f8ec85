import { RegistryError } from '../../../registry/model/errors.ts';
import { inspectImage, type InspectImageOptions } from '../../../signer/inspect-image.ts';
import type { ModuleState } from '../../../signer/model/module.ts';
import type { ModuleReport } from '../../../signer/model/report.ts';

/** Selects a module, for a kernel. */
export interface ModuleQuery {
  /** The directory in the image that contains lib/modules. */
  readonly dirName: string;
  /** As `uname -r` prints it. */
  readonly kernelRelease: string;
  /** As in modprobe: `-` and `_` are equal. */
  readonly moduleName: string;
  /** GOARCH. */
  readonly architecture: string;
}

/** Whether an image has a module, and in which state. */
export type FoundModule =
  | {
      readonly found: false;
      /** One sentence: what is missing. */
      readonly problem: string;
    }
  | {
      readonly found: true;
      readonly path: string;
      readonly vermagic: string | null;
      /** Whether it was built for the kernel: its vermagic begins with the release. */
      readonly matchesKernel: boolean;
      /** State of its signature, against the certificates. */
      readonly state: ModuleState;
      /** What is wrong with the signature or file. */
      readonly problem: string | null;
    };

/** File name suffixes of modules that kernels load. */
const suffixes = ['.ko', '.ko.gz', '.ko.xz', '.ko.zst'];

/**
 * Finds a module as modprobe does: by its file name, below the kernel's directory.
 * @throws RegistryError, SignerError
 */
export async function findModule(
  options: Pick<InspectImageOptions, 'image' | 'certificates' | 'layerContents' | 'signal'>,
  query: ModuleQuery,
): Promise<FoundModule> {
  const directory = `${query.dirName}/lib/modules/${query.kernelRelease}`.replaceAll(/\/{2,}/g, '/');
  const name = Array.from(query.moduleName, (character) =>
    '-_'.includes(character) ? '[-_]' : literal(character),
  ).join('');
  try {
    const { platforms } = await inspectImage({
      ...options,
      files: suffixes.map((suffix) => `${literal(directory)}/**/${name}${suffix}`),
      allowUnmatched: true,
      platforms: [{ os: 'linux', architecture: query.architecture }],
    });
    // A platform that no runtime selects does not matter.
    const modules = platforms.flatMap(({ shadowed, modules: found }) => (shadowed ? [] : found));
    const matching = modules.filter((one) => matchesKernel(one, query));
    // If runtimes see different files at one path, the node may load the worse one.
    const untrusted = matching.find(({ views, state }) => views !== null && state !== 'trusted');
    const module = untrusted ?? matching[0] ?? modules[0];
    if (module !== undefined) return describe(module, query);
  } catch (error) {
    if (!(error instanceof RegistryError) || error.code !== 'PLATFORM_NOT_FOUND') throw error;
    return { found: false, problem: `The image is not for linux/${query.architecture}` };
  }
  return { found: false, problem: `The image has no ${query.moduleName}.ko in ${directory}` };
}

function describe(module: ModuleReport, query: ModuleQuery): FoundModule {
  const { path, info, state, problem } = module;
  return {
    found: true,
    path,
    vermagic: info?.vermagic ?? null,
    matchesKernel: matchesKernel(module, query),
    state,
    problem,
  };
}

function matchesKernel({ info }: ModuleReport, { kernelRelease }: ModuleQuery): boolean {
  return info?.vermagic?.split(' ')[0] === kernelRelease;
}

function literal(text: string): string {
  return text.replaceAll(/[*?[\]\\]/g, String.raw`\$&`);
}
