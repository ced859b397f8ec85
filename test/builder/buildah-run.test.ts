import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { buildJob } from '../../src/builder/builders.ts';
import { describeWith } from '../support/programs.ts';
import { startDockerRegistry } from '../support/registries.ts';
import { runContainer } from './run-container.ts';
import { buildAndSignTarget, buildFacts } from './targets.ts';

const dockerfile = `FROM scratch
ARG KERNEL_VERSION
ARG ARG_NAME
LABEL kernel="\${KERNEL_VERSION}" argument="\${ARG_NAME}"
COPY Dockerfile /Dockerfile
`;

describeWith(
  ['buildah', 'skopeo', 'docker-registry'],
  'what the container of a Buildah Job runs',
  ({ skopeo }) => {
    it('builds an image, pushes it and tells its digest', async () => {
      await using registry = await startDockerRegistry();
      const directory = await mkdtemp(join(tmpdir(), 'kmm-sign-test-'));
      try {
        const image = `${registry.host}/driver:final-kmm_unsigned`;
        const { build, ...rest } = buildAndSignTarget({ registryTls: { insecure: true } });
        if (build === undefined) throw new Error('The target is built');
        const target = { ...rest, build: { ...build, image, secrets: [] } };
        const facts = buildFacts({
          dockerfile,
          architecture: 'amd64',
          pullSecrets: [],
          userNamespaces: false,
        });
        for (const name of ['workspace', 'scratch', 'run']) await mkdir(join(directory, name));
        await writeFile(join(directory, 'workspace', 'Dockerfile'), dockerfile);
        await writeFile(
          join(directory, 'storage.conf'),
          `[storage]\ndriver = "vfs"\ngraphroot = "${directory}/storage"\nrunroot = "${directory}/run"\n`,
        );
        await runContainer({
          job: buildJob('buildah', target, facts),
          paths: {
            '/workspace': join(directory, 'workspace'),
            '/var/tmp/buildah': join(directory, 'scratch'),
            '/dev/termination-log': join(directory, 'termination-log'),
          },
          env: { HOME: directory, CONTAINERS_STORAGE_CONF: join(directory, 'storage.conf') },
        });
        const { stdout } = await promisify(execFile)(skopeo, [
          'inspect',
          '--tls-verify=false',
          `docker://${image}`,
        ]);
        expect(JSON.parse(stdout)).toMatchObject({
          Digest: await readFile(join(directory, 'termination-log'), 'utf8'),
          Architecture: 'amd64',
          Labels: { kernel: '5.14.0-70.58.1.el9_0.x86_64', argument: 'some value; $(id)' },
        });
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
    });
  },
);
