import type { ModuleTarget } from '../../builder/target.ts';
import type { FoundModule } from '../observe/images/find-module.ts';
import { readCertificate, readCredentials } from '../image-pipeline/inputs.ts';
import type { PipelineRequest } from '../image-pipeline/request.ts';
import { nonEmpty } from '../../api/schema/resource.ts';
import type { PreflightContext } from './context.ts';
import { failed, succeeded, type Verification } from './verification.ts';

/**
 * Checks the kernel module that modprobe would load from an image: that it exists, was built for the kernel,
 * and is signed if it should be.
 * @throws PipelineError, RegistryError, SignerError, ApiError
 */
export async function verifyContent(
  services: PreflightContext,
  request: PipelineRequest,
  { digest, signal }: { readonly digest: string; readonly signal: AbortSignal },
): Promise<Verification> {
  const { target, architectures } = request;
  const { image, kernel, modprobe, registryTls: tls, sign } = target;
  const moduleName = nonEmpty(modprobe.moduleName);
  if (moduleName === undefined) {
    return succeeded(`${image} exists; rawArgs do not say which module is loaded, so none was looked for`);
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
  return succeeded(`${image} holds ${moduleName} for kernel ${kernel.release}${signature}`);
}

/** Returns what is wrong with a module, or undefined. */
function problemOf(found: FoundModule, { kernel, sign }: ModuleTarget): string | undefined {
  if (!found.found) return found.problem;
  const { path, vermagic, matchesKernel, state, problem } = found;
  const because = problem === null ? '' : `: ${problem}`;
  if (state === 'damaged') return `${path} cannot be read${because}`;
  if (!matchesKernel) {
    const made = vermagic === null ? 'does not say for which kernel it was made' : `was made for ${vermagic}`;
    return `${path} ${made}, not for kernel ${kernel.release}`;
  }
  if (sign === undefined || state === 'trusted') return undefined;
  // If only some files are to be signed, others may carry the signature of their vendor.
  if (state === 'untrusted' && sign.files.length > 0) return undefined;
  return state === 'unsigned'
    ? `${path} is not signed`
    : `${path} is not signed with the certificate of Secret ${sign.certSecret}${because}`;
}
