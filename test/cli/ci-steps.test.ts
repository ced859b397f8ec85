import { execFile, spawn } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse, parseAllDocuments } from 'yaml';
import * as z from 'zod';
import { LayoutRepository } from '../../src/registry/image/layout-repository.ts';
import { storeImage, type TestEntry } from '../support/images.ts';
import { helloModule } from '../support/signing.ts';
import { requireProgram } from '../support/programs.ts';
import { demoModule, startDemoRegistry, type DemoRegistry } from './demo-registry.ts';
import { finished, program, runProgram } from './run-program.ts';

const root = new URL('../../', import.meta.url);
const readText = (path: string): Promise<string> => readFile(new URL(path, root), 'utf8');

/** The first block of docs/ci.md in a language that contains some text. */
async function documented(language: string, part: string): Promise<string> {
  const blocks = (await readText('docs/ci.md')).matchAll(/^```(\w+)\n([^]*?)^```$/gm);
  const found = Array.from(blocks).find(([, name, text]) => name === language && text?.includes(part));
  if (found?.[2] === undefined) throw new Error(`docs/ci.md shows no ${part}`);
  return found[2];
}

const lists = z.record(z.string(), z.string());
const variables = z.array(z.object({ name: z.string(), value: z.string() }));
const parameters = z.array(z.object({ name: z.string(), default: z.string().optional() }));

// bcrypt of "wonderland", at the lowest cost.
const user = 'alice:$2b$04$4eZh9ut6iNQSWY0ZN/xgAeLlM4RR/RUEnPMNRFVa31xEb9U1gIeHG\n';
const login = ['--username', 'alice', '--password-stdin'];

/** The digest that the registry has for a tag. */
async function digestOf(image: string): Promise<string> {
  return (await runProgram(['resolve', image, ...login], { input: 'wonderland' })).stdout.trim();
}

/** What Python's XML parser finds in a JUnit report: class and name of each case, and the types of failures. */
async function readJunit(file: string): Promise<unknown> {
  const code = [
    'import json, sys, xml.etree.ElementTree as tree',
    'suite = tree.parse(sys.argv[1]).getroot().find("testsuite")',
    'cases = [[c.get("classname"), c.get("name")] + [f.get("type") for f in c] for c in suite]',
    'print(json.dumps({"tests": suite.get("tests"), "failures": suite.get("failures"), "cases": cases}))',
  ].join('\n');
  const { stdout } = await promisify(execFile)(requireProgram('python3'), ['-c', code, file]);
  return JSON.parse(stdout);
}

async function expectResults(results: string, destination: string): Promise<void> {
  expect(await readFile(join(results, 'IMAGE_URL'), 'utf8')).toBe(destination);
  expect(await readFile(join(results, 'IMAGE_DIGEST'), 'utf8')).toBe(await digestOf(destination));
}

describe('a CI step', () => {
  let directory: string;
  let registry: DemoRegistry;
  let auths: Readonly<Record<string, unknown>>;
  const at = (...names: string[]): string => join(directory, ...names);
  const here = (text: string): string => text.replaceAll('registry.example', registry.address);

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
    await writeFile(at('htpasswd'), user);
    registry = await startDemoRegistry(['--htpasswd', at('htpasswd')]);
    auths = { [registry.address]: { auth: Buffer.from('alice:wonderland').toString('base64') } };
    for (const name of ['bin', 'signing-key', 'login']) await mkdir(at(name));
    await copyFile(registry.key, at('signing-key', 'key'));
    await copyFile(registry.certificate, at('signing-key', 'cert'));
    await writeFile(at('login', 'config.json'), JSON.stringify({ auths }));
    const script = `#!/bin/sh\nexec '${process.execPath}' '${program}' "$@"\n`;
    await writeFile(at('bin', 'kmm-sign'), script, { mode: 0o755 });
  });

  afterAll(async () => {
    await registry?.[Symbol.asyncDispose]();
    await rm(directory, { recursive: true, force: true });
  });

  /** Runs a step's script with nothing in its environment but what the step says. */
  async function runScript(shell: readonly string[], env: Readonly<Record<string, string>>, cwd: string) {
    const child = spawn(shell[0] ?? '', shell.slice(1), {
      cwd,
      env: {
        PATH: `${at('bin')}:${process.env['PATH'] ?? ''}`,
        HOME: '/nonexistent',
        XDG_CACHE_HOME: '/dev/null',
        ...env,
      },
    });
    child.stdin.end();
    return finished(child);
  }

  const images = (destination: string) => ({
    'params.SOURCE': here('registry.example/vendor/driver:1.0'),
    'params.DESTINATION': here(destination),
    'params.KMM_SIGN_IMAGE': 'unused',
  });

  const workspaces = (dockerconfig: string) => ({
    'workspaces.signing-key.path': at('signing-key'),
    'workspaces.certificate.path': at('signing-key'),
    // An optional workspace that nobody gave has no path.
    'workspaces.dockerconfig.path': dockerconfig,
  });

  async function verifyLayer(entries: readonly TestEntry[]) {
    const folder = await mkdtemp(at('layout-'));
    await storeImage(new LayoutRepository(folder), { layers: [{ entries }] }, '1.0');
    const report = join(folder, 'report.xml');
    const args = ['verify', `oci:${folder}:1.0`, '--cert', registry.certificate, '--junit-file', report];
    const { exitCode } = await runProgram(args);
    return { exitCode, report: await readJunit(report) };
  }

  describe('of GitLab', () => {
    const headerSchema = z.object({
      spec: z.object({
        inputs: z.record(
          z.string(),
          z.object({ default: z.string().optional(), regex: z.string().optional() }),
        ),
      }),
    });
    const jobSchema = z.object({
      variables: lists,
      script: z.array(z.string()),
      artifacts: z.object({ when: z.literal('always'), reports: lists }),
    });

    /** Fills in a component's inputs as GitLab does, and runs its job as a runner does. */
    async function runComponent(name: string, given: Readonly<Record<string, string>>) {
      const [header, ...jobs] = parseAllDocuments(await readText(`templates/${name}.yml`));
      const { inputs } = headerSchema.parse(header?.toJS()).spec;
      for (const input of Object.keys(given)) expect(Object.keys(inputs)).toContain(input);
      const fill = (text: string): string =>
        text.replaceAll(/\$\[\[ inputs\.([\w-]+) \]\]/g, (_, input: string) => {
          const value = given[input] ?? inputs[input]?.default;
          if (value === undefined) throw new Error(`the input ${input} is required`);
          expect(value).toMatch(new RegExp(inputs[input]?.regex ?? ''));
          return value;
        });
      // GitLab fills in strings of the parsed document.
      const filled: unknown = JSON.parse(JSON.stringify(jobs[0]), (_, value: unknown) =>
        typeof value === 'string' ? fill(value) : value,
      );
      const job = jobSchema.parse(Object.values(filled as Record<string, unknown>)[0]);
      const folder = await mkdtemp(at('job-'));
      const env = {
        ...job.variables,
        CI: 'true',
        MODULE_SIGNING_KEY: registry.key,
        MODULE_SIGNING_CERT: registry.certificate,
        ENCODED_KEY: (await readFile(registry.key)).toString('base64'),
        DOCKER_AUTH_CONFIG: JSON.stringify({ auths }),
      };
      const shell = ['bash', '-e', '-o', 'pipefail', '-c', job.script.join('\n')];
      const ended = await runScript(shell, env, folder);
      return { ...ended, folder, reports: job.artifacts.reports };
    }

    async function documentedComponents() {
      const schema = z.object({ include: z.array(z.object({ component: z.string(), inputs: lists })) });
      const { include } = schema.parse(parse(here(await documented('yaml', 'include:'))));
      return include.map(({ component, inputs }) => ({
        name: /\/(\w+)@/.exec(component)?.[1] ?? '',
        inputs,
      }));
    }

    test('signs and then verifies as docs/ci.md shows, and reports on each module', async () => {
      const components = await documentedComponents();
      expect(components.map(({ name }) => name)).toEqual(['sign', 'verify']);
      for (const { name, inputs } of components) {
        const { exitCode, folder, reports } = await runComponent(name, inputs);
        expect({ name, exitCode }).toEqual({ name, exitCode: 0 });
        expect(await readJunit(join(folder, reports['junit'] ?? ''))).toEqual({
          tests: '1',
          failures: '0',
          cases: [['linux/amd64', demoModule]],
        });
        if (name !== 'sign') continue;
        const destination = inputs['destination'] ?? '';
        const variable = await readFile(join(folder, reports['dotenv'] ?? ''), 'utf8');
        expect(variable).toBe(`SIGNED_IMAGE=${destination}@${await digestOf(destination)}\n`);
      }
    });

    test('takes the key from a masked variable in base64', async () => {
      const [component] = await documentedComponents();
      const ended = await runComponent('sign', { ...component?.inputs, key: 'env://ENCODED_KEY' });
      expect(ended.exitCode).toBe(0);
      expect(ended.stdout + ended.stderr).not.toContain('BEGIN');
    });

    test('fails with the exit code of the program, and reports the module that is at fault', async () => {
      const unsigned = { image: 'unused', source: here('registry.example/vendor/driver:1.0') };
      const { exitCode, folder, reports } = await runComponent('verify', unsigned);
      expect(exitCode).toBe(10);
      expect(await readJunit(join(folder, reports['junit'] ?? ''))).toEqual({
        tests: '1',
        failures: '1',
        cases: [['linux/amd64', demoModule, 'unsigned']],
      });
    });
  });

  describe('of Jenkins', () => {
    test('runs in a shell as docs/ci.md shows', async () => {
      const [, script = ''] = /sh '''\n([^]*?)'''/.exec(await documented('groovy', 'pipeline')) ?? [];
      const credentials = {
        KMM_SIGN_KEY: registry.key,
        KMM_SIGN_CERT: registry.certificate,
        REGISTRY_AUTH_FILE: at('login', 'config.json'),
      };
      const folder = await mkdtemp(at('job-'));
      const { exitCode } = await runScript(['sh', '-xe', '-c', here(script)], credentials, folder);
      expect(exitCode).toBe(0);
      expect(await readJunit(join(folder, 'kmm-sign.xml'))).toMatchObject({ tests: '1', failures: '0' });
    });
  });

  describe('of Tekton', () => {
    const stepSchema = z.object({ script: z.string(), env: variables.default([]) });
    const taskSchema = z.object({
      params: parameters,
      stepTemplate: z.object({ env: variables }).default({ env: [] }),
      steps: z.array(stepSchema),
    });
    const stepActionSchema = stepSchema.extend({ params: parameters });

    /** Replaces variables and runs steps as Tekton does. */
    async function runSteps(
      { params, steps }: { params: z.infer<typeof parameters>; steps: z.infer<typeof stepSchema>[] },
      given: Readonly<Record<string, string>>,
    ) {
      const results = await mkdtemp(at('results-'));
      const values: Record<string, string> = { ...given };
      for (const { name, default: value } of params) {
        values[`params.${name}`] ??= value ?? '';
        if (value === undefined) expect(Object.keys(given)).toContain(`params.${name}`);
      }
      for (const name of ['IMAGE_URL', 'IMAGE_DIGEST'])
        for (const scope of ['results', 'step.results'])
          values[`${scope}.${name}.path`] = join(results, name);
      const replaced = (text: string): string =>
        text.replaceAll(/\$\(([a-zA-Z_.-]+)\)/g, (all, name: string) => values[name] ?? all);
      for (const [index, { script, env }] of steps.entries()) {
        const file = join(results, `script-${index}`);
        await writeFile(file, replaced(script), { mode: 0o755 });
        const replacedEnv = Object.fromEntries(env.map(({ name, value }) => [name, replaced(value)]));
        const ended = await runScript([file], { ...replacedEnv, TMPDIR: directory }, results);
        if (ended.exitCode !== 0) return { ...ended, results };
      }
      return { exitCode: 0, stderr: '', results };
    }

    async function runTask(file: string, given: Readonly<Record<string, string>>) {
      const { spec } = parse(await readText(`deploy/tekton/${file}.yaml`)) as { spec: unknown };
      const { params, stepTemplate, steps } = taskSchema.parse(spec);
      const all = steps.map((step) => ({ ...step, env: [...stepTemplate.env, ...step.env] }));
      return runSteps({ params, steps: all }, given);
    }

    async function runStepAction(given: Readonly<Record<string, string>>) {
      const { spec } = parse(await readText('deploy/tekton/step-action.yaml')) as { spec: unknown };
      const { params, ...step } = stepActionSchema.parse(spec);
      return runSteps({ params, steps: [step] }, given);
    }

    test('signs with the parameters of the TaskRun in docs/ci.md, and gives both results', async () => {
      const run = parse(here(await documented('yaml', 'kind: TaskRun'))) as { spec: { params: unknown } };
      const params = variables.parse(run.spec.params).map(({ name, value }) => [`params.${name}`, value]);
      const given: Record<string, string> = Object.fromEntries(params);
      const { exitCode, results } = await runTask('task-sign', { ...given, ...workspaces(at('login')) });
      expect(exitCode).toBe(0);
      await expectResults(results, given['params.DESTINATION'] ?? '');
    });

    test.each(['.dockerconfigjson', '.dockercfg'])(
      'finds a pull Secret that is mounted with %s',
      async (file) => {
        const folder = await mkdtemp(at('secret-'));
        await writeFile(join(folder, file), JSON.stringify(file === '.dockercfg' ? auths : { auths }));
        const given = { ...images(`registry.example/ours/driver:with${file}`), ...workspaces(folder) };
        const { exitCode, results } = await runTask('task-sign', given);
        expect(exitCode).toBe(0);
        await expectResults(results, given['params.DESTINATION']);
      },
    );

    test('sends no credentials without one, and then the registry refuses it', async () => {
      const given = { ...images('registry.example/ours/driver:anonymous'), ...workspaces('') };
      expect((await runTask('task-sign', given)).exitCode).toBe(4);
    });

    test('verifies without a key', async () => {
      const given = {
        ...images(''),
        ...workspaces(at('login')),
        'workspaces.signing-key.path': '/nonexistent',
      };
      expect((await runTask('task-verify', given)).exitCode).toBe(10);
    });

    test('signs as a StepAction in a Task of its user', async () => {
      const given = {
        ...images('registry.example/ours/driver:step'),
        'params.KEY': at('signing-key', 'key'),
        'params.CERTIFICATE': at('signing-key', 'cert'),
        'params.PULL_SECRET': at('login'),
      };
      const { exitCode, results } = await runStepAction(given);
      expect(exitCode).toBe(0);
      await expectResults(results, given['params.DESTINATION']);
    });
  });

  describe('that reads the JUnit report', () => {
    test('finds the names of modules, whatever they contain', async () => {
      const name = `a<b>&"c".ko`;
      expect(await verifyLayer([{ name, content: await helloModule }])).toMatchObject({
        exitCode: 10,
        report: { cases: [['linux/amd64', `/${name}`, 'unsigned']] },
      });
    });
  });
});
