import { verifyImage } from '../../signer/verify-image.ts';
import { exitCodeOfState, type ExitCode } from '../output/exit-codes.ts';
import { verifyReportText } from '../output/inspect-report.ts';
import type { Session } from '../session/session.ts';
import { readModules, type ReadModulesOptions } from './read-modules.ts';

/** Verifies every module of an image; the exit code is that of the worst. */
export async function verify(options: ReadModulesOptions, session: Session): Promise<ExitCode> {
  const report = await readModules(options, session, verifyImage);
  session.output({ json: () => report, text: () => verifyReportText(report) });
  return exitCodeOfState(report.worst);
}
