import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { finished, runProgram, startProgram, type RunOptions } from '../cli/run-program.ts';
import { startServer, type LocalServer } from '../registry/http/local-server.ts';

/** Milliseconds, on a busy machine. */
const patience = { timeout: 30_000 };

// A credential helper that asks a person who is not there.

describe('a credential helper that does not answer', () => {
  let folder: string;
  let server: LocalServer;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-helper-'));
    await mkdir(join(folder, '.docker'));
    await writeFile(join(folder, '.docker/config.json'), JSON.stringify({ credsStore: 'asks' }));
    await writeFile(
      join(folder, 'docker-credential-asks'),
      '#!/bin/sh\necho $$ > "$HOME/pid.part"\nmv "$HOME/pid.part" "$HOME/pid"\nexec tail -f /dev/null\n',
      { mode: 0o755 },
    );
    server = await startServer((_, response) =>
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(),
    );
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const options = (): RunOptions => ({
    env: { HOME: folder, PATH: `${folder}:${process.env['PATH'] ?? ''}` },
  });
  const helperIsGone = async (): Promise<boolean> =>
    !existsSync(`/proc/${(await readFile(join(folder, 'pid'), 'utf8')).trim()}`);

  test('ends with --timeout', async () => {
    const { exitCode } = await runProgram(
      ['resolve', `${server.host}/a:1`, '--plain-http', '--timeout', '3s'],
      options(),
    );
    expect(exitCode).toBe(124);
    await expect.poll(helperIsGone, patience).toBe(true);
  });

  test('ends with Ctrl-C', async () => {
    await rm(join(folder, 'pid'), { force: true });
    const child = startProgram(['resolve', `${server.host}/a:1`, '--plain-http'], options());
    const end = finished(child);
    await expect.poll(() => existsSync(join(folder, 'pid')), patience).toBe(true);
    child.kill('SIGINT');
    expect((await end).exitCode).toBe(130);
    await expect.poll(helperIsGone, patience).toBe(true);
  });
});
