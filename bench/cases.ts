/** What is run: kmm-sign in its modes, and the peers named on the command line. */
import { fileURLToPath } from 'node:url';

/** Everything that a command line may name. */
export interface Subject {
  readonly source: string;
  /** The source in a registry with TLS, and the certificate to trust for it. */
  readonly secureSource: string;
  readonly authority: string;
  readonly destination: string;
  /** A destination in a repository that holds none of the image yet. */
  readonly elsewhere: string;
  /** Absolute paths of the modules to sign. */
  readonly files: readonly string[];
  readonly key: string;
  readonly cert: string;
}

export interface Case {
  readonly name: string;
  readonly command: (subject: Subject) => readonly string[];
  /** Run before the case, not measured: what the case finds in the registry. */
  readonly before?: (subject: Subject) => readonly string[];
  /** The only image that it is run on: on all of them it would take the same. */
  readonly image?: string;
  /** Whether it does not go through the relay that counts bytes. */
  readonly uncounted?: true;
}

/** The program; KMM_SIGN_BENCH_PROGRAM names another build of it. */
const program =
  process.env['KMM_SIGN_BENCH_PROGRAM'] ?? fileURLToPath(new URL('../bin/kmm-sign.js', import.meta.url));

/** Returns the command line that signs an image. */
export function kmmSign(
  subject: Pick<Subject, 'source' | 'files' | 'key' | 'cert'>,
  destination: string,
  ...options: readonly string[]
): readonly string[] {
  const files = subject.files.flatMap((file) => ['--file', file]);
  const keys = ['--key', subject.key, '--cert', subject.cert, '--plain-http'];
  return [process.execPath, program, 'sign', subject.source, destination, ...keys, ...options, ...files];
}

function resolve(image: string, ...options: readonly string[]): readonly string[] {
  return [process.execPath, program, 'resolve', image, ...options];
}

/** Signs as if no image had been signed before. */
function sign(...options: readonly string[]): (subject: Subject) => readonly string[] {
  return (subject) => kmmSign(subject, subject.destination, '--no-cache', ...options);
}

/** Signs an image after another one on the same base, whose layers are known since. */
function signKnown(mode: string): Pick<Case, 'image' | 'before' | 'command'> {
  const command = (subject: Subject, ...options: readonly string[]): readonly string[] =>
    kmmSign(subject, subject.destination, '--mode', mode, ...options);
  return { image: 'deep', before: (subject) => command(subject, '--dry-run'), command };
}

/** kmm-sign's own cases. */
export const ownCases: readonly Case[] = [
  { name: 'append', command: sign('--mode', 'append') },
  { name: 'rewrite', command: sign('--mode', 'rewrite') },
  { name: 'cached-append', ...signKnown('append') },
  { name: 'cached-rewrite', ...signKnown('rewrite') },
  {
    name: 'elsewhere',
    command: (subject) => kmmSign(subject, subject.elsewhere, '--no-cache', '--mode', 'rewrite'),
  },
  { name: 'unchanged', before: sign(), command: sign() },
  { name: 'trust-annotations', before: sign(), command: sign('--trust-annotations') },
  {
    name: 'verify',
    before: sign(),
    command: (subject) => [
      process.execPath,
      program,
      'verify',
      subject.destination,
      '--cert',
      subject.cert,
      '--plain-http',
      ...subject.files.flatMap((file) => ['--file', file]),
    ],
  },
  { name: 'resolve', image: 'small', command: ({ source }) => resolve(source, '--plain-http') },
  {
    name: 'resolve-tls',
    image: 'small',
    uncounted: true,
    command: ({ secureSource, authority }) => resolve(secureSource, '--ca-file', authority),
  },
];

/**
 * A peer from `name=command`. The words {source} {destination} {files} {key} {cert} of the command are replaced, the
 * files joined by colons as KMM gives them; there is no shell.
 */
export function peerCase(definition: string): Case {
  const cut = definition.indexOf('=');
  if (cut < 1) throw new Error(`--peer ${definition}: expected name=command`);
  const words = definition
    .slice(cut + 1)
    .split(' ')
    .filter(Boolean);
  return {
    name: definition.slice(0, cut),
    command: (subject) => {
      const values: Record<string, string> = {
        source: subject.source,
        destination: subject.destination,
        files: subject.files.join(':'),
        key: subject.key,
        cert: subject.cert,
      };
      return words.map((word) =>
        word.replaceAll(/\{(\w+)\}/gu, (whole, name: string) => values[name] ?? whole),
      );
    },
  };
}
