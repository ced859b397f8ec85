import type { ResolvedImage } from '../observe/images/resolve.ts';
import type { CertificateSecret } from '../observe/references/kept.ts';
import type { JobProgress } from './job-tries.ts';

/** An image by tag, with the digest of the tag. */
export interface SignSource {
  readonly image: string;
  readonly digest: string;
}

/** A Dockerfile, and its key in the ConfigMap. */
export interface Dockerfile {
  readonly key: string;
  readonly text: string;
}

/**
 * What is known about an image so far. Absent properties have not been queried yet; null means that the
 * registry does not have the image, or that nothing is wrong with its signatures.
 */
export interface ImageFacts {
  /** The phase whose persisted Job has not ended. Even if its image exists, the Job must end first. */
  readonly unfinished: 'Building' | 'Signing' | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** The image that nodes run. */
  readonly final?: ResolvedImage | null;
  /** What is wrong with the signatures of `final`. */
  readonly finalProblem?: string | null;
  readonly dockerfile?: Dockerfile;
  /** The image of the build section before a build. */
  readonly standing?: ResolvedImage | null;
  readonly build?: JobProgress;
  /** The image of the build section after the build Job succeeded. */
  readonly built?: ResolvedImage | null;
  /** The image that `sign.unsignedImage` names. */
  readonly unsigned?: ResolvedImage | null;
  readonly certificate?: CertificateSecret;
  readonly signature?: JobProgress;
  /** The image that nodes run after the sign Job succeeded. */
  readonly signed?: ResolvedImage | null;
  /** What is wrong with the signatures of `signed`. */
  readonly signedProblem?: string | null;
}
