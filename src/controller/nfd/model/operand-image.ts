/** The version of NFD that the operands are written for. */
const defaultImage = 'registry.k8s.io/nfd/node-feature-discovery:v0.19.0';
/** Earlier ones have other flags and ports: workers spoke to the master by gRPC. */
const firstMinorVersion = 18;

/** The image to deploy, and why it is not the one that was asked for. */
export interface OperandImage {
  readonly image: string;
  readonly ignored: string | undefined;
}

/**
 * Chooses the image of NFD. A configured one wins, since it runs with rights that users who may write the
 * resource need not have. Without one, the resource's is used unless its tag names a version that cannot be run
 * as these operands are.
 */
export function chooseImage(asked: string | undefined, configured: string | undefined): OperandImage {
  const image = configured ?? (asked === undefined || isOutdated(asked) ? defaultImage : asked);
  if (asked === undefined || asked === image) return { image, ignored: undefined };
  const why =
    configured === undefined
      ? `it is of OpenShift's operator, or of NFD before 0.${firstMinorVersion}, and takes other flags`
      : "the operator's configuration names another";
  return { image, ignored: `spec.operand.image: ${asked} is not used: ${why}` };
}

function isOutdated(image: string): boolean {
  const [, major, minor] = /:v(\d+)\.(\d+)(?:[.-][\w.-]*)?$/.exec(image) ?? [];
  if (major === undefined) return false;
  // Tags such as v4.12 are versions of OpenShift.
  return Number(major) > 0 || Number(minor) < firstMinorVersion;
}

/** Returns how an image is pulled by default: what a digest names never changes. */
export function defaultPullPolicy(image: string): 'Always' | 'IfNotPresent' {
  return image.includes('@') ? 'IfNotPresent' : 'Always';
}
