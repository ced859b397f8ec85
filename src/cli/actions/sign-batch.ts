import { count } from '../../shared/printable.ts';
import { describeError, formatError } from '../output/errors.ts';
import { type ExitCode, exitCodes } from '../output/exit-codes.ts';
import { signReportText } from '../output/sign-report.ts';
import { usageError } from '../output/usage-error.ts';
import type { Session } from '../session/session.ts';
import { readBatch } from './batch-file.ts';
import { openSigning, type SignOptions } from './sign.ts';

/** Options of `sign --batch`. */
export interface SignBatchOptions extends Omit<SignOptions, 'source' | 'destination'> {
  /** The list; `-` for stdin. */
  readonly batch: string;
  /** Whether the first failure ends the run. @default the other images are signed all the same */
  readonly failFast?: boolean | undefined;
}

/**
 * Signs the images of a list, one after the other, and prints a report on each. What fails is named by its line on
 * stderr; the exit code is that of the first failure.
 */
export async function signBatch(options: SignBatchOptions, session: Session): Promise<ExitCode> {
  if (options.digestFile !== undefined)
    throw usageError(
      'Option --digest-file names one file for all images of --batch',
      'The reports have the digests.',
    );
  if (options.batch === '-' && (options.from.passwordStdin || options.to.passwordStdin))
    throw usageError('--batch - and --password-stdin both read stdin', 'Give --password-file.');
  const images = await readBatch(options.batch);
  const { format, logFormat } = session.options;
  let exitCode: ExitCode = exitCodes.done;
  let failed = 0;
  await using signing = await openSigning(options, session);
  for (const [index, { line, source, destination }] of images.entries()) {
    session.progress.report({ type: 'image', line, source, done: index, total: images.length });
    try {
      const { report, repository } = await signing.sign(source, destination);
      session.output({ json: () => ({ line, ...report }), text: () => signReportText(report, repository) });
    } catch (error) {
      session.signal.throwIfAborted();
      const described = describeError(error);
      const located = {
        ...described,
        message: `Line ${line}: ${described.message}`,
        facts: { ...described.facts, line },
      };
      session.progress.line(
        formatError(located, format === 'json' || logFormat === 'json' ? 'json' : 'text'),
      );
      failed += 1;
      if (exitCode === exitCodes.done) exitCode = described.exitCode;
      if (options.failFast === true) break;
    }
  }
  if (failed > 0) session.logger.warn(`${count(failed, 'image')} of ${images.length} could not be signed`);
  return exitCode;
}
