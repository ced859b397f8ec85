/** Digest algorithms for module signatures. Which of them a kernel accepts depends on its configuration. */
export const hashAlgorithms = ['sha256', 'sha384', 'sha512', 'sha224', 'sha1'] as const;

export type HashAlgorithm = (typeof hashAlgorithms)[number];

/** Returns the algorithm with this name, ignoring case; undefined if there is none. */
export function parseHash(text: string): HashAlgorithm | undefined {
  return hashAlgorithms.find((hash) => hash === text.toLowerCase());
}
