import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execPath, hrtime } from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { LeaderElection } from '../../../../src/controller/runtime/leader/leader-election.ts';
import { leases } from '../../../../src/controller/runtime/leader/lease.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../../src/shared/temporary.ts';
import { startApiServer, apiServerPrograms, type ApiServer } from '../../../support/api-server.ts';
import { startProcess } from '../../../support/processes.ts';
import { describeWith } from '../../../support/programs.ts';
import { startRelay } from '../relay.ts';

const candidate = fileURLToPath(new URL('candidate.ts', import.meta.url));
const waiting = { timeout: 40_000, interval: 20 };

describeWith(apiServerPrograms, 'leader election', () => {
  let api: ApiServer;
  let directory: TemporaryDirectory;
  beforeAll(async () => {
    api = await startApiServer();
    directory = await createTemporaryDirectory();
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
    await directory[Symbol.asyncDispose]();
  });

  it('never has two leaders, and elects a new one after a kill and after a release', async () => {
    const log = join(directory.path, 'beats');
    writeFileSync(log, '');
    const beats = () =>
      readFileSync(log, 'utf8')
        .split('\n')
        .slice(0, -1)
        .map((line) => line.split(' '))
        .map(([who = '', at = '0']) => ({ who, at: BigInt(at) }));
    const leaders = (): string[] => [...new Set(beats().map(({ who }) => who))];
    const start = (identity: string) =>
      startProcess(execPath, [candidate, api.kubeconfig, identity, log], {
        log: join(directory.path, `${identity}.out`),
      });
    const candidates = { a: start('a'), b: start('b') };

    await vi.waitFor(() => expect(leaders()).toHaveLength(1), waiting);
    const first = leaders()[0] === 'a' ? 'a' : 'b';
    const second = first === 'a' ? 'b' : 'a';
    await candidates[first].stop('SIGKILL');
    await vi.waitFor(() => expect(leaders()).toEqual([first, second]), waiting);

    const third = start('c');
    await candidates[second].stop('SIGTERM');
    const releasedAt = hrtime.bigint();
    await vi.waitFor(() => expect(leaders()).toEqual([first, second, 'c']), waiting);
    await third.stop('SIGTERM');

    // In the order of time, each has one stretch: nobody leads between another's beats.
    const inOrder = beats().toSorted((one, other) => Number(one.at - other.at));
    const stretches = inOrder.filter(({ who }, index) => who !== inOrder[index - 1]?.who);
    expect(stretches.map(({ who }) => who)).toEqual([first, second, 'c']);
    const [, , handedOver] = stretches;
    // A release is no wait for the lease's end; c had only to start and look.
    expect(handedOver?.at).toBeLessThan(releasedAt + 30_000_000_000n);
    const lease = await (await api.client()).get(leases, { namespace: 'default', name: 'candidates' });
    expect(lease.spec?.holderIdentity ?? '').toBe('');
    expect(lease.spec?.leaseTransitions).toBe(3);
  });

  it('stops a leader that cannot renew before another can lead', async () => {
    await using relay = await startRelay(api.port);
    const election = new LeaderElection({
      client: await api.client(relay.port),
      lease: { namespace: 'default', name: 'cut-off' },
      identity: 'cut-off',
      leaseDuration: 2000,
      renewDeadline: 1000,
      retryPeriod: 100,
    });
    const run = election.run(async ({ lost }) => {
      expect(election.isLeader).toBe(true);
      relay.breakDown();
      await vi.waitFor(() => expect(lost.aborted).toBe(true), waiting);
      expect(election.isLeader).toBe(false);
      relay.heal();
    }, new AbortController().signal);
    expect(await run).toBe('lost');
    const lease = await (await api.client()).get(leases, { namespace: 'default', name: 'cut-off' });
    expect(lease.spec?.holderIdentity).toBe('cut-off');
  });

  it('does not report itself as leader after the event loop was blocked beyond the deadline', async () => {
    const election = new LeaderElection({
      client: await api.client(),
      lease: { namespace: 'default', name: 'busy' },
      identity: 'busy',
      leaseDuration: 1000,
      renewDeadline: 400,
      retryPeriod: 100,
    });
    const run = election.run(async ({ lost }) => {
      const until = performance.now() + 500;
      while (performance.now() < until);
      // No timer could run until now.
      expect([election.isLeader, lost.aborted]).toEqual([false, false]);
      await vi.waitFor(() => expect(lost.aborted).toBe(true), waiting);
    }, new AbortController().signal);
    expect(await run).toBe('lost');
  });
});
