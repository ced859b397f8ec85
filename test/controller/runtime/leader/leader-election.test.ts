import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execPath, hrtime } from 'node:process';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { LeaderElection } from '../../../../src/controller/runtime/leader/leader-election.ts';
import { configMaps } from '../../../../src/controller/observe/cluster/resources.ts';
import { ApiClient } from '../../../../src/controller/runtime/api/client.ts';
import {
  createConnection,
  loadConfig,
  type Connection,
} from '../../../../src/controller/runtime/api/connection.ts';
import { whenAborted } from '../../../../src/shared/abortable.ts';
import { leases } from '../../../../src/controller/runtime/leader/lease.ts';
import { createLogger, jsonLine } from '../../../../src/shared/logger.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../../src/shared/temporary.ts';
import { startApiServer, apiServerPrograms, type ApiServer } from '../../../support/api-server.ts';
import { startProcess } from '../../../support/processes.ts';
import { describeWith } from '../../../support/programs.ts';
import { clientThrough } from '../counting-client.ts';
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
    const lines: string[] = [];
    const election = new LeaderElection({
      client: await api.client(relay.port),
      log: createLogger('error', jsonLine, (line) => lines.push(line)),
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
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { message: 'leadership lost', lease: 'default/cut-off', holder: 'cut-off', identity: 'cut-off' },
    ]);
    const lease = await (await api.client()).get(leases, { namespace: 'default', name: 'cut-off' });
    expect(lease.spec?.holderIdentity).toBe('cut-off');
  });

  it('renews by one request each time, and reads the Lease only when another has written it', async () => {
    const requests: string[] = [];
    const key = { namespace: 'default', name: 'one-request' };
    const election = new LeaderElection({
      client: await clientThrough(api.kubeconfig, (request, send) => {
        requests.push(request.method);
        return send(request);
      }),
      lease: key,
      identity: 'leader',
      retryPeriod: 20,
    });
    const stop = new AbortController();
    const run = election.run(async () => {
      await vi.waitFor(() => expect(requests.length).toBeGreaterThan(4), waiting);
      expect(requests.splice(0)).toEqual(['GET', 'POST', ...Array.from({ length: 3 }, () => 'PUT')]);
      const client = await api.client();
      await client.patch(leases, key, { metadata: { annotations: { seen: 'by another' } } });
      requests.splice(0);
      await vi.waitFor(() => expect(requests).toContain('GET'), waiting);
      await vi.waitFor(() => expect(requests.length).toBeGreaterThan(5), waiting);
      expect(requests.filter((method) => method === 'GET')).toHaveLength(1);
      const { metadata, spec } = await client.get(leases, key);
      expect(metadata).toMatchObject({ annotations: { seen: 'by another' } });
      expect(spec).toMatchObject({ holderIdentity: 'leader', leaseTransitions: 1 });
      stop.abort();
    }, stop.signal);
    expect(await run).toBe('stopped');
  });

  it('keeps leading while more requests than may be sent wait for the API server', async () => {
    const connection = createConnection(await loadConfig(api.kubeconfig));
    let [waitingRequests, renewals] = [0, 0];
    const send: Connection['send'] = async (request) => {
      if (request.path.includes('/leases')) renewals += 1;
      else {
        waitingRequests += 1;
        if (request.signal !== undefined) await whenAborted(request.signal);
      }
      return connection.send(request);
    };
    const client = new ApiClient({
      connection: { ...connection, send },
      fieldManager: 'test',
      userAgent: 'kmm-sign-tests',
      rate: { perSecond: 1, burst: 2 },
    });
    const election = new LeaderElection({
      client,
      lease: { namespace: 'default', name: 'saturated' },
      identity: 'busy-client',
      retryPeriod: 50,
    });
    const stop = new AbortController();
    const run = election.run(async ({ lost }) => {
      const ended = new AbortController();
      const ask = () =>
        client.get(configMaps, { namespace: 'default', name: 'none' }, { signal: ended.signal });
      const others = Promise.allSettled(Array.from({ length: 60 }, ask));
      await vi.waitFor(() => expect(waitingRequests).toBeGreaterThan(1), waiting);
      renewals = 0;
      await vi.waitFor(() => expect(lost.aborted || renewals > 20).toBe(true), waiting);
      expect(lost.aborted).toBe(false);
      ended.abort();
      await others;
      stop.abort();
    }, stop.signal);
    expect(await run).toBe('stopped');
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
