import type { ModuleTarget } from '../../builder/target.ts';
import type { FoundModule } from '../observe/images/find-module.ts';
import { readCertificate, readCredentials } from '../image-pipeline/inputs.ts';
import type { PipelineRequest } from '../image-pipeline/request.ts';
import { nonEmpty } from '../../api/schema/resource.ts';
import type { PreflightContext } from './task.ts';
import { failed, succeeded, type Verification } from './verification.ts';

/**
 * Checks the kernel module that modprobe would load from an image: that it exists, was built for the kernel,
 * and is signed if it should be.
 * @throws PipelineError, RegistryError, SignerError, ApiError
 */
export async function verifyContent(
  services: PreflightContext,
  request: PipelineRequest,
  digest: string,
  signal: AbortSignal,
): Promise<Verification> {
  const { target, architectures } = request;
  const { image, kernel, modprobe, registryTls: tls, sign } = target;
  const moduleName = nonEmpty(modprobe.moduleName);
  if (moduleName === undefined) {
    return succeeded(`${image} exists; rawArgs do not name the module, so the content was not checked`);
  }
  const { contents: pullSecrets } = await readCredentials(services, request);
  const certificate = sign && (await readCertificate(services, request, sign));
  for (const architecture of architectures) {
    const found = await services.images.findModule({
      image,
      digest,
      access: { tls, pullSecrets },
      dirName: modprobe.dirName,
      kernelRelease: kernel.release,
      moduleName,
      architecture,
      certificates: certificate?.certificates,
      namespace: request.namespace,
      signal,
    });
    const problem = problemOf(found, target);
    if (problem !== undefined) return failed(`${image}: ${problem}`);
  }
  const signature = sign === undefined ? '' : ', signed';
  return succeeded(`${image} contains ${moduleName} for kernel ${kernel.release}${signature}`);
}

/** Returns what is wrong with a module, or undefined. */
function problemOf(found: FoundModule, { kernel, sign }: ModuleTarget): string | undefined {
  if (!found.found) return found.problem;
  const { path, vermagic, matchesKernel, state, problem } = found;
  const because = problem === null ? '' : `: ${problem}`;
  if (state === 'damaged') return `${path} cannot be read${because}`;
  if (!matchesKernel) {
    const origin =
      vermagic === null ? 'does not name the kernel it was built for' : `was built for ${vermagic}`;
    return `${path} ${origin}, not for kernel ${kernel.release}`;
  }
  if (sign === undefined || state === 'trusted') return undefined;
  // If only some files are to be signed, others may be signed by their vendor.
  if (state === 'untrusted' && sign.files.length > 0) return undefined;
  return state === 'unsigned'
    ? `${path} is not signed`
    : `${path} is not signed with the certificate of Secret ${sign.certSecret}${because}`;
}
