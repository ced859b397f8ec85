import { inspectImage } from '../../signer/inspect-image.ts';
import { inspectReportText } from '../output/inspect-report.ts';
import type { Session } from '../session/session.ts';
import { readModules, type ReadModulesOptions } from './read-modules.ts';

/** Lists the modules of an image. What is found is no failure, whatever its state. */
export async function inspect(options: ReadModulesOptions, session: Session): Promise<void> {
  const report = await readModules(options, session, inspectImage);
  session.output({ json: () => report, text: () => inspectReportText(report) });
}
