import { inspect } from 'node:util';
import { readFile } from 'node:fs/promises';
import { X509Certificate } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { findDockerfile } from '../../../../src/builder/job-inputs.ts';
import {
  configMaps,
  secrets,
  serviceAccounts,
  type FullMetadata,
} from '../../../../src/controller/observe/cluster/resources.ts';
import { certificateSource } from '../../../../src/controller/observe/references/projections.ts';
import { ReferenceCache } from '../../../../src/controller/observe/references/reference-cache.ts';
import type { Reference } from '../../../../src/controller/observe/references/reference.ts';
import type { ApiClient } from '../../../../src/controller/runtime/api/client.ts';
import type { ObjectKey } from '../../../../src/controller/runtime/api/object-key.ts';
import type { Resource } from '../../../../src/controller/runtime/api/resource.ts';
import { createTemporaryDirectory, type TemporaryDirectory } from '../../../../src/shared/temporary.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../../../support/api-server.ts';
import { describeWith } from '../../../support/programs.ts';
import { createTestKey, type TestKey } from '../../../support/signing.ts';
import { recordedClient, type RecordedClient } from './recorded-client.ts';

const waiting = { timeout: 40_000, interval: 20 };
const user = { namespace: 'drivers', name: 'first' };
const other = { namespace: 'drivers', name: 'second' };

describeWith(apiServerPrograms, 'what Modules refer to', () => {
  let api: ApiServer;
  let admin: ApiClient;
  let folder: TemporaryDirectory;
  let key: TestKey;
  let calls: RecordedClient;
  let cache: ReferenceCache;
  let changes: ObjectKey[][];
  let stop: AbortController;
  let done: Promise<void>;
  let namespace: string;
  let count = 0;

  beforeAll(async () => {
    api = await startApiServer();
    admin = await api.client();
    folder = await createTemporaryDirectory();
    key = await createTestKey(folder.path);
  });
  afterAll(async () => {
    await api[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });
  beforeEach(async () => {
    namespace = `references-${count++}`;
    await admin.create(namespaces, { metadata: { name: namespace } });
    calls = await recordedClient(api.kubeconfig);
    begin(calls.client);
  });
  afterEach(async () => {
    stop.abort();
    await done;
  });

  function begin(client: ApiClient): void {
    cache = new ReferenceCache(client);
    changes = [];
    cache.onChange((users) => changes.push([...users]));
    stop = new AbortController();
    done = cache.run(stop.signal);
  }

  function at(name: string): { namespace: string; name: string } {
    return { namespace, name };
  }

  function reference(kind: Reference['kind'], name: string): Reference {
    return { kind, key: at(name) };
  }

  async function putDockerfile(name: string, data: Record<string, string>): Promise<void> {
    await admin.apply(configMaps, { metadata: at(name), data }, { force: true });
  }

  async function putSecret(name: string, data: Record<string, string | Buffer>): Promise<void> {
    const encoded = Object.entries(data).map(([entry, value]) => [
      entry,
      Buffer.from(value).toString('base64'),
    ]);
    await admin.apply(
      secrets,
      { metadata: at(name), data: Object.fromEntries(encoded) as Record<string, string> },
      { force: true },
    );
  }

  /** Waits until an object is followed: then reading makes no call. */
  async function untilFollowed(read: () => Promise<unknown>): Promise<void> {
    await vi.waitFor(async () => {
      const before = calls.gets.length;
      await read();
      expect(calls.gets).toHaveLength(before);
    }, waiting);
  }

  it('is read anew once for all that ask at the same time, whatever is followed', async () => {
    await putDockerfile('build', { dockerfile: 'FROM one' });
    const read = () => cache.fresh.dockerfile(at('build'));
    cache.use(user, [reference('dockerfile', 'build')]);
    await untilFollowed(() => cache.dockerfile(at('build')));
    const before = calls.gets.length;
    const all = await Promise.all(Array.from({ length: 20 }, read));
    expect(all).toEqual(Array.from({ length: 20 }, () => ({ dockerfile: 'FROM one' })));
    expect(calls.gets.length - before).toBe(1);
    await putDockerfile('build', { dockerfile: 'FROM two' });
    expect(await read()).toEqual({ dockerfile: 'FROM two' });
    expect(await cache.fresh.dockerfile(at('absent'))).toBeUndefined();
  });

  it('is followed by its own watch while it is in use', async () => {
    await putDockerfile('build', { dockerfile: 'FROM one', other: 'not ours' });
    await putDockerfile('unrelated', { dockerfile: 'FROM else' });
    cache.use(user, [reference('dockerfile', 'build')]);
    const read = () => cache.dockerfile(at('build'));
    expect(await read()).toEqual({ dockerfile: 'FROM one' });
    await untilFollowed(read);
    await vi.waitFor(() => expect(calls.watches).toEqual(['configmaps metadata.name=build']), waiting);
    expect(changes).toEqual([]);

    await putDockerfile('unrelated', { dockerfile: 'FROM changed' });
    await putDockerfile('build', { Dockerfile: 'FROM two' });
    await vi.waitFor(() => expect(changes).toEqual([[user]]), waiting);
    expect(findDockerfile(await read())).toEqual({ key: 'Dockerfile', text: 'FROM two' });

    await admin.delete(configMaps, at('build'));
    await vi.waitFor(() => expect(changes).toEqual([[user], [user]]), waiting);
    expect(await read()).toBeUndefined();

    await putDockerfile('build', { dockerfile: 'FROM three' });
    await vi.waitFor(() => expect(changes).toHaveLength(3), waiting);
    expect(await read()).toEqual({ dockerfile: 'FROM three' });
  });

  it('is followed by one watch for all its users, until the last one is gone', async () => {
    await putDockerfile('build', { dockerfile: 'FROM one' });
    cache.use(user, [reference('dockerfile', 'build')]);
    cache.use(other, [reference('dockerfile', 'build')]);
    const read = () => cache.dockerfile(at('build'));
    await untilFollowed(read);
    await vi.waitFor(() => expect(calls.openWatches).toBe(1), waiting);
    await putDockerfile('build', { dockerfile: 'FROM two' });
    await vi.waitFor(() => expect(changes).toEqual([[user, other]]), waiting);

    cache.use(user, []);
    expect(cache.size).toBe(1);
    await putDockerfile('build', { dockerfile: 'FROM three' });
    await vi.waitFor(() => expect(changes.at(-1)).toEqual([other]), waiting);

    cache.use(other, []);
    expect(cache.size).toBe(0);
    await vi.waitFor(() => expect(calls.openWatches).toBe(0), waiting);
    const before = calls.gets.length;
    expect(await read()).toEqual({ dockerfile: 'FROM three' });
    expect(calls.gets).toHaveLength(before + 1);
  });

  it('is reported if it changes between the first read and the watch', async () => {
    const release = calls.holdLists();
    await putDockerfile('changes', { dockerfile: 'FROM one' });
    await putDockerfile('goes', { dockerfile: 'FROM one' });
    await putDockerfile('stays', { dockerfile: 'FROM one' });
    const names = ['changes', 'goes', 'comes', 'stays'];
    const users = names.map((name) => ({ namespace: 'drivers', name: `user of ${name}` }));
    for (const [index, name] of names.entries()) {
      cache.use(users[index] ?? user, [reference('dockerfile', name)]);
      expect(await cache.dockerfile(at(name))).toEqual(
        name === 'comes' ? undefined : { dockerfile: 'FROM one' },
      );
    }
    await putDockerfile('changes', { dockerfile: 'FROM two' });
    await admin.delete(configMaps, at('goes'));
    await putDockerfile('comes', { dockerfile: 'FROM one' });
    expect(changes).toEqual([]);
    release();
    for (const name of names) await untilFollowed(() => cache.dockerfile(at(name)));
    await vi.waitFor(() => expect(changes).toHaveLength(3), waiting);
    const told = new Set(changes.map(([one]) => one?.name));
    expect(told).toEqual(new Set(['user of changes', 'user of comes', 'user of goes']));
  });

  it('is read once for concurrent readers', async () => {
    const release = calls.holdLists();
    await putDockerfile('build', { dockerfile: 'FROM one' });
    cache.use(user, [reference('dockerfile', 'build')]);
    await Promise.all([1, 2, 3].map(() => cache.dockerfile(at('build'))));
    release();
    expect(calls.gets).toHaveLength(1);
  });

  it('is not reported for changes in parts that are not read', async () => {
    await putDockerfile('build', { dockerfile: 'FROM one' });
    cache.use(user, [reference('dockerfile', 'build')]);
    await untilFollowed(() => cache.dockerfile(at('build')));
    await admin.patch(configMaps, at('build'), { metadata: { labels: { new: 'yes' } }, data: { more: 'x' } });
    await putDockerfile('build', { dockerfile: 'FROM two' });
    await vi.waitFor(() => expect(changes).toHaveLength(1), waiting);
    expect(await cache.dockerfile(at('build'))).toEqual({ dockerfile: 'FROM two' });
  });

  it('is the certificate of a Secret, in DER as in PEM', async () => {
    const pem = await readFile(key.certificate);
    const privateKey = await readFile(key.key, 'utf8');
    const certificate = new X509Certificate(pem);
    const expected = certificate.fingerprint256.replaceAll(':', '').toLowerCase();
    await putSecret('pem', { cert: pem, key: privateKey });
    await putSecret('der', { cert: certificate.raw, key: privateKey });
    cache.use(user, [reference('certificate', 'pem'), reference('certificate', 'der')]);
    for (const name of ['pem', 'der']) {
      await untilFollowed(() => cache.certificate(at(name)));
      const found = await cache.certificate(at(name));
      expect(found?.fingerprint).toBe(expected);
      expect(found?.certificates.map(({ raw }) => raw.toString('hex'))).toEqual([
        certificate.raw.toString('hex'),
      ]);
    }
  });

  it('is never the private key beside the certificate: it is not read', async () => {
    const cert = (await readFile(key.certificate)).toString('base64');
    const privateKey = (await readFile(key.key)).toString('base64');
    const lookedAt: (string | symbol)[] = [];
    const data = new Proxy<Record<string, string>>(
      { cert, key: privateKey },
      {
        get: (target, entry) => {
          lookedAt.push(entry);
          return Reflect.get(target, entry) as unknown;
        },
        ownKeys: () => expect.fail('all entries were listed'),
      },
    );
    const projection = certificateSource.project({ metadata: at('signing'), data });
    expect(lookedAt).toEqual(['cert']);
    const shown = inspect(projection, { depth: null, showHidden: true, maxStringLength: null });
    expect(shown).toContain(key.signer.fingerprint);
    expect(shown).not.toContain('PRIVATE KEY');
    expect(shown).not.toContain(privateKey.slice(0, 60));
  });

  it.each([
    ['has no certificate', { key: 'only' }, 'has no entry "cert"'],
    ['has something else', { cert: 'nothing of the kind' }, 'is not a readable certificate'],
    ['has a broken certificate', { cert: Buffer.from('30820000', 'hex') }, 'is not a readable certificate'],
  ])('is named in the error when a signing Secret %s', async (_title, data, problem) => {
    await putSecret('signing', data);
    await expect(cache.certificate(at('signing'))).rejects.toMatchObject({
      code: 'INVALID_CERTIFICATE_SECRET',
      message: expect.stringMatching(new RegExp(`Secret ${namespace}/signing .*${problem}`)) as string,
    });
    cache.use(user, [reference('certificate', 'signing')]);
    await untilFollowed(() => cache.certificate(at('signing')).catch(() => {}));
    await putSecret('signing', { cert: await readFile(key.certificate) });
    await vi.waitFor(() => expect(changes).toEqual([[user]]), waiting);
    expect((await cache.certificate(at('signing')))?.certificates).toHaveLength(1);
  });

  it('is a pull secret, wrapped so that logs do not show it', async () => {
    const config = JSON.stringify({ auths: { 'r.example': { auth: 'dTpwYXNzd29yZA==' } } });
    await putSecret('pull', { '.dockerconfigjson': config });
    await putSecret('legacy', { '.dockercfg': '{}' });
    await putSecret('neither', { 'config.json': config });
    const content = await cache.pullSecret(at('pull'));
    expect(content).toMatchObject({ source: `Secret ${namespace}/pull`, key: '.dockerconfigjson' });
    expect(content?.json.reveal()).toBe(config);
    expect(inspect(content, { depth: null, showHidden: true })).not.toContain('dTpw');
    expect(await cache.pullSecret(at('legacy'))).toMatchObject({ key: '.dockercfg' });
    await expect(cache.pullSecret(at('neither'))).rejects.toMatchObject({ code: 'INVALID_PULL_SECRET' });
    expect(await cache.pullSecret(at('absent'))).toBeUndefined();
  });

  it('is the list of pull secrets of a ServiceAccount', async () => {
    const account = at('loader');
    cache.use(user, [reference('service-account', 'loader')]);
    expect(await cache.serviceAccountPullSecrets(account)).toBeUndefined();
    await admin.create(serviceAccounts, {
      metadata: account,
      imagePullSecrets: [{ name: 'a' }, { name: 'b' }],
    });
    await vi.waitFor(() => expect(changes).toEqual([[user]]), waiting);
    expect(await cache.serviceAccountPullSecrets(account)).toEqual(['a', 'b']);
  });

  it('is an error with a hint while the operator may not read it', async () => {
    stop.abort();
    await done;
    await admin.create(serviceAccounts, { metadata: at('operator') });
    const { status } = (await admin.request({
      method: 'POST',
      path: `/api/v1/namespaces/${namespace}/serviceaccounts/operator/token`,
      body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} },
    })) as { status: { token: string } };
    calls = await recordedClient(api.kubeconfig, status.token);
    begin(calls.client);
    await putSecret('signing', { cert: await readFile(key.certificate) });
    cache.use(user, [reference('certificate', 'signing')]);
    const command = [
      `kubectl create rolebinding kmm-operator-references -n ${namespace}`,
      `--clusterrole=kmm-operator-references --serviceaccount=${namespace}:operator`,
    ].join(' ');
    await expect(cache.certificate(at('signing'))).rejects.toMatchObject({
      code: 'REFERENCE_FORBIDDEN',
      message: `The operator may not read the Secret ${namespace}/signing`,
      hint: `Allow it: ${command}`,
      facts: { kind: 'Secret', ...at('signing') },
    });
    await allow(admin, namespace);
    await vi.waitFor(() => expect(changes).toEqual([[user]]), waiting);
    expect((await cache.certificate(at('signing')))?.fingerprint).toBe(key.signer.fingerprint);
  });
});

const namespaces: Resource = {
  group: '',
  version: 'v1',
  plural: 'namespaces',
  kind: 'Namespace',
  namespaced: false,
};

/** What the command of the hint does, in the form that it has. */
async function allow(admin: ApiClient, namespace: string): Promise<void> {
  const name = 'kmm-operator-references';
  const rbac = { group: 'rbac.authorization.k8s.io', version: 'v1' };
  const metadata: FullMetadata = { name };
  const role = {
    metadata,
    rules: [{ apiGroups: [''], resources: ['secrets'], verbs: ['get', 'list', 'watch'] }],
  };
  await admin.create({ ...rbac, plural: 'clusterroles', kind: 'ClusterRole', namespaced: false }, role);
  await admin.create({ ...rbac, plural: 'rolebindings', kind: 'RoleBinding', namespaced: true }, {
    metadata: { namespace, name },
    roleRef: { apiGroup: rbac.group, kind: 'ClusterRole', name },
    subjects: [{ kind: 'ServiceAccount', namespace, name: 'operator' }],
  } as { metadata: FullMetadata });
}
