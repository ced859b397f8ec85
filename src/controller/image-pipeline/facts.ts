import type { ResolvedImage } from '../observe/images/resolve.ts';
import type { CertificateSecret } from '../observe/references/kept.ts';
import type { JobProgress } from './job-tries.ts';

/** An image by tag, and the digest that the tag had. */
export interface SignSource {
  readonly image: string;
  readonly digest: string;
}

/** A Dockerfile, and the key of the ConfigMap that holds it. */
export interface Dockerfile {
  readonly key: string;
  readonly text: string;
}

/**
 * What is known about an image so far. A property that is absent has not been asked for; null says that the registry
 * has no such image, or that nothing is wrong with its signatures.
 */
export interface ImageFacts {
  /** The phase whose Job, as persisted, has not ended. Its image may be there already: the end is waited for. */
  readonly unfinished: 'Building' | 'Signing' | undefined;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** The image that nodes run. */
  readonly final?: ResolvedImage | null;
  /** What is wrong with the signatures of `final`. */
  readonly finalProblem?: string | null;
  readonly dockerfile?: Dockerfile;
  /** The image of the build section before anything was built. */
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
