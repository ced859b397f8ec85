/** Digest algorithms for module signatures. Which of them a kernel accepts depends on its configuration. */
export const hashAlgorithms = ['sha256', 'sha384', 'sha512', 'sha224', 'sha1'] as const;

export type HashAlgorithm = (typeof hashAlgorithms)[number];
