import * as z from 'zod';
import { KmmError } from '../../shared/errors.ts';
import { parseJson } from '../../shared/json.ts';
import { driverToolkitTable } from '../../builder/driver-toolkit.ts';
import type { ImageAccess } from '../observe/images/clients.ts';
import { architecturesFor } from './image.ts';
import type { PreflightContext } from './task.ts';

/** Why a release cannot be checked. */
export type PreflightErrorCode =
  /** The image has no list of a release's images, or the list has no Driver Toolkit. */
  | 'NOT_A_RELEASE'
  /** The Driver Toolkit image does not say which kernels it is for. */
  | 'NOT_A_DRIVER_TOOLKIT'
  /** The release has no kernel of the requested kind. */
  | 'KERNEL_MISSING'
  | 'PULL_SECRET_MISSING';

/** An error in determining the kernel of a PreflightValidationOCP. */
export class PreflightError extends KmmError<PreflightErrorCode> {
  override readonly name = 'PreflightError';
}

/** The kernel of an OpenShift release, and the image for building modules for it. */
export interface Release {
  readonly kernel: string;
  readonly driverToolkit: string;
}

/** Which kernel of which release. */
export interface ReleaseQuery {
  readonly releaseImage: string;
  readonly useRTKernel: boolean;
}

/** The path of an ImageStream with the images of a release. */
const imageReferences = '/release-manifests/image-references';
/** The path of the list of kernels that a Driver Toolkit image is for. */
const toolkitRelease = '/etc/driver-toolkit-release.json';

const toolkitReleaseSchema = z.object({
  KERNEL_VERSION: z.string().optional(),
  RT_KERNEL_VERSION: z.string().optional(),
});

/**
 * Determines the kernel of a release.
 * @throws PreflightError, RegistryError, ReferencedObjectError, ApiError
 */
export async function readRelease(
  context: PreflightContext,
  { releaseImage, useRTKernel }: ReleaseQuery,
  signal: AbortSignal,
): Promise<Release> {
  const access = await accessOf(context);
  const [architecture = 'amd64'] = architecturesFor('', {}, context.caches.nodes.list());
  const read = async (image: string, path: string): Promise<unknown> => {
    const content = await context.images.readFile({ image, access, path, architecture, signal });
    return content === undefined ? undefined : parseJson(content.toString('utf8'));
  };
  const driverToolkit = driverToolkitTable(await read(releaseImage, imageReferences)).get('driver-toolkit');
  if (driverToolkit === undefined) {
    throw new PreflightError({
      code: 'NOT_A_RELEASE',
      message: `${releaseImage} is not a release image: its ${imageReferences} does not list driver-toolkit`,
      hint: 'Get the name of a release image with "oc adm release info".',
      facts: { image: releaseImage },
    });
  }
  const { data } = toolkitReleaseSchema.safeParse(await read(driverToolkit, toolkitRelease));
  if (data === undefined) {
    throw new PreflightError({
      code: 'NOT_A_DRIVER_TOOLKIT',
      message: `${driverToolkit} does not say in ${toolkitRelease} which kernel it is for`,
      facts: { image: driverToolkit },
    });
  }
  const kernel = useRTKernel ? data.RT_KERNEL_VERSION : data.KERNEL_VERSION;
  if (kernel !== undefined && kernel !== '') return { kernel, driverToolkit };
  throw new PreflightError({
    code: 'KERNEL_MISSING',
    message: `${releaseImage} has no ${useRTKernel ? 'real-time ' : ''}kernel`,
    facts: { image: releaseImage },
  });
}

async function accessOf({ references, releasePullSecret: key }: PreflightContext): Promise<ImageAccess> {
  if (key === undefined) return { tls: {}, pullSecrets: [] };
  const content = await references.pullSecret(key);
  if (content !== undefined) return { tls: {}, pullSecrets: [content] };
  throw new PreflightError({
    code: 'PULL_SECRET_MISSING',
    message: `The Secret ${key.namespace}/${key.name} with the credentials for release images does not exist`,
    facts: { namespace: key.namespace, secret: key.name },
  });
}
