// A process that wants to lead: node candidate.ts KUBECONFIG IDENTITY LOG
//
// Writes `IDENTITY NANOSECONDS` into LOG every few milliseconds while it believes that it leads. The clock is
// the machine's monotonic one, the same for all processes.
import { appendFileSync } from 'node:fs';
import { argv, hrtime } from 'node:process';
import { ApiClient } from '../../../../src/controller/runtime/api/client.ts';
import { createConnection, loadConfig } from '../../../../src/controller/runtime/api/connection.ts';
import { LeaderElection } from '../../../../src/controller/runtime/leader/leader-election.ts';

const [kubeconfig = '', identity = '', log = ''] = argv.slice(2);
const connection = createConnection(await loadConfig(kubeconfig));
const client = new ApiClient({ connection, fieldManager: identity, userAgent: identity });
const election = new LeaderElection({
  client,
  lease: { namespace: 'default', name: 'candidates' },
  identity,
  leaseDuration: 2000,
  renewDeadline: 1200,
  retryPeriod: 200,
});
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());
const beat = setInterval(() => {
  if (election.isLeader) appendFileSync(log, `${identity} ${hrtime.bigint()}\n`);
}, 10);

await election.run(
  ({ stop: ended }) =>
    new Promise((resolve) => {
      ended.addEventListener('abort', () => resolve(), { once: true });
    }),
  stop.signal,
);
clearInterval(beat);
connection.close();
