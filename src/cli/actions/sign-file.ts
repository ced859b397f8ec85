import { access } from 'node:fs/promises';
import { hashAlgorithms, parseHash, type HashAlgorithm } from '../../signer/model/module.ts';
import { loadSigner } from '../../signer/keys/load-signer.ts';
import { passphraseFrom } from '../../signer/keys/reference.ts';
import type { ExistingSignaturePolicy } from '../../signer/model/report.ts';
import { signLocalModule, type SignatureOrigin, type SignedLocalModule } from '../../signer/sign-file.ts';
import { usageError } from '../output/usage-error.ts';
import { table } from '../output/text.ts';
import type { Session } from '../session/session.ts';

export interface SignFileOptions {
  /** Whether the arguments may be those of scripts/sign-file: the command line has no option for the key. */
  readonly positional: boolean;
  readonly key?: string | undefined;
  readonly cert?: string | undefined;
  readonly passphraseFile?: string | undefined;
  readonly hash: HashAlgorithm;
  readonly keyIdentifier?: boolean | undefined;
  readonly saveSignature?: boolean | undefined;
  readonly detached?: boolean | undefined;
  readonly rawSignature?: string | undefined;
  readonly existing: ExistingSignaturePolicy;
}

/** The task, regardless of the form of the command line. */
interface Task {
  readonly hash: HashAlgorithm;
  readonly key: string | undefined;
  readonly cert: string | undefined;
  readonly modules: readonly string[];
  readonly destination?: string | undefined;
}

const usage =
  'Write sign-file --key KEY --cert CERT MODULE…, or sign-file [-dpk] HASH KEY CERT MODULE [DEST].';

/**
 * Signs module files: according to options, or (then silently) to the positional arguments of
 * scripts/sign-file.
 */
export async function signFiles(
  args: readonly string[],
  options: SignFileOptions,
  session: Session,
): Promise<void> {
  const positional = options.positional && parseHash(args[0] ?? '') !== undefined;
  const task = positional ? positionalTask(args, options) : await optionTask(args, options);
  const origin = await signatureOrigin(task, options, session);
  const signed: SignedLocalModule[] = [];
  for (const path of task.modules) {
    signed.push(
      await signLocalModule({
        path,
        destination: task.destination,
        origin,
        hash: task.hash,
        existing: options.existing,
        detached: detachedForm(options),
        signal: session.signal,
      }),
    );
  }
  session.output({
    json: () => ({ modules: signed }),
    text: () => (positional ? '' : table(signed.map(({ action, destination }) => [action, destination]))),
  });
}

async function optionTask(args: readonly string[], options: SignFileOptions): Promise<Task> {
  const { hash, key, cert } = options;
  const [first = ''] = args;
  const isMissing = await access(first).then(
    () => false,
    () => true,
  );
  // Scripts call sign-file with a hash first, so an unknown hash must not be reported as a missing module.
  if (isMissing && (hashName.test(first) || isPositionalForm(args, options))) {
    const [message, hint] =
      parseHash(first) === undefined
        ? [`"${first}" is not a digest algorithm`, `Choose one of ${hashAlgorithms.join(', ')}. ${usage}`]
        : [`"${first}" is not a module`, `With --key, every argument is one; write --hash ${first}.`];
    throw usageError(message, hint);
  }
  return { hash, key, cert, modules: args };
}

/** Names of digest algorithms, those of sign-file and others: `sha3-256`, `MD5`, `sm3`, `sha512/256`. */
const hashName = /^(?:sha|shake|md|sm|rmd|ripemd|blake|streebog|whirlpool)-?[\da-z-]*(?:\/\d+)?$/i;

/**
 * Returns whether there are as many arguments as sign-file takes, the first is not a path, and no option gives
 * the key.
 */
function isPositionalForm(
  [first = '', ...rest]: readonly string[],
  { key, rawSignature }: SignFileOptions,
): boolean {
  return key === undefined && rest.length >= (rawSignature === undefined ? 3 : 2) && !/[./]/.test(first);
}

function positionalTask([hash, ...rest]: readonly string[], { rawSignature }: SignFileOptions): Task {
  const [key, cert, path, destination, ...more] = rawSignature === undefined ? rest : [undefined, ...rest];
  const algorithm = parseHash(hash ?? '');
  if (algorithm === undefined || cert === undefined || path === undefined || more.length > 0) {
    throw usageError('The arguments are not valid for sign-file', usage);
  }
  return { hash: algorithm, key, cert, modules: [path], destination };
}

async function signatureOrigin(
  task: Task,
  options: SignFileOptions,
  session: Session,
): Promise<SignatureOrigin> {
  if (options.rawSignature !== undefined) return { rawSignature: options.rawSignature };
  if (task.key === undefined) throw usageError('Option --key is required', usage);
  const signer = await loadSigner({
    key: task.key,
    certificate: task.cert,
    passphrase: passphraseFrom({ env: session.environment, file: options.passphraseFile }),
    env: session.environment,
    readSecret: session.secrets,
  });
  for (const warning of signer.warnings) session.logger.warn(warning);
  return { signer, identifierForm: options.keyIdentifier === true ? 'key-identifier' : 'issuer-and-serial' };
}

function detachedForm({ detached, saveSignature }: SignFileOptions): 'no' | 'instead' | 'too' {
  if (detached === true) return 'instead';
  return saveSignature === true ? 'too' : 'no';
}
