import { spawn } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { startDemoRegistry, type DemoRegistry } from './demo-registry.ts';
import { finished, program, runProgram } from './run-program.ts';

interface Step {
  readonly args: readonly string[];
  readonly env: readonly { readonly name: string; readonly value: string }[];
}

/** The step of the Tekton task in docs/ci.md. */
async function tektonStep(): Promise<Step> {
  const text = await readFile(new URL('../../docs/ci.md', import.meta.url), 'utf8');
  const blocks = [...text.matchAll(/```yaml\n([^]*?)```/g)].map(([, yaml = '']) => yaml);
  const task = parse(blocks.find((yaml) => yaml.includes('kind: Task')) ?? '') as {
    readonly spec: { readonly steps: readonly [Step] };
  };
  return task.spec.steps[0];
}

// bcrypt of "wonderland", at the lowest cost.
const user = 'alice:$2b$04$4eZh9ut6iNQSWY0ZN/xgAeLlM4RR/RUEnPMNRFVa31xEb9U1gIeHG\n';

describe('the Tekton step of docs/ci.md', () => {
  let directory: string;
  let registry: DemoRegistry;
  const at = (name: string) => join(directory, name);

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
    await writeFile(at('htpasswd'), user);
    registry = await startDemoRegistry(['--htpasswd', at('htpasswd')]);
    await mkdir(at('signing-key'));
    await symlink(registry.key, join(at('signing-key'), 'key'));
    await symlink(registry.certificate, join(at('signing-key'), 'cert'));
    await mkdir(at('bin'));
    await writeFile(
      join(at('bin'), 'kmm-sign'),
      `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`,
      {
        mode: 0o755,
      },
    );
  });

  afterAll(async () => {
    await registry?.[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  /** Runs the step as Tekton does, with its variables replaced; undefined: nobody gave the workspace. */
  async function run(dockerconfig: string | undefined, tag: string) {
    const destination = `${registry.address}/signed/driver:${tag}`;
    const variables: Readonly<Record<string, string>> = {
      'workspaces.signing-key.path': at('signing-key'),
      'workspaces.dockerconfig.path': dockerconfig ?? '',
      'workspaces.dockerconfig.bound': String(dockerconfig !== undefined),
      'results.IMAGE_DIGEST.path': at('IMAGE_DIGEST'),
      'results.IMAGE_URL.path': at('IMAGE_URL'),
      'params.SOURCE': `${registry.address}/vendor/driver:1.0`,
      'params.DESTINATION': destination,
    };
    const { args, env } = await tektonStep();
    const replaced = (text: string) =>
      text.replaceAll(/\$\(([a-zA-Z_.-]+)\)/g, (all, name: string) => variables[name] ?? all);
    const child = spawn('/bin/sh', ['-c', replaced(args[0] ?? '')], {
      env: {
        PATH: `${at('bin')}:${process.env['PATH'] ?? ''}`,
        HOME: '/nonexistent',
        ...Object.fromEntries(env.map(({ name, value }) => [name, replaced(value)])),
      },
    });
    child.stdin.end();
    return { ...(await finished(child)), destination };
  }

  test.each(['.dockerconfigjson', '.dockercfg', 'config.json'])(
    'finds a pull Secret that is mounted with %s, and gives both results',
    async (file) => {
      const folder = await mkdtemp(at('secret-'));
      const auths = { [registry.address]: { auth: Buffer.from('alice:wonderland').toString('base64') } };
      await writeFile(join(folder, file), JSON.stringify(file === '.dockercfg' ? auths : { auths }));
      const { exitCode, stderr, destination } = await run(folder, `with-${file.replace(/\W/g, '')}`);
      expect({ exitCode, error: /kmm-sign: .*/.exec(stderr)?.[0] }).toEqual({
        exitCode: 0,
        error: undefined,
      });
      expect(await readFile(at('IMAGE_URL'), 'utf8')).toBe(destination);
      const login = ['--username', 'alice', '--password-stdin'];
      const resolved = await runProgram(['resolve', destination, ...login], { input: 'wonderland' });
      expect(resolved.stdout).toBe(`${await readFile(at('IMAGE_DIGEST'), 'utf8')}\n`);
    },
  );

  test('runs without one, and then the registry refuses it', async () => {
    expect((await run(undefined, 'anonymous')).exitCode).toBe(4);
  });
});
