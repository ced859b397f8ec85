import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../support/api-server.ts';
import { describeWith } from '../support/programs.ts';
import { accessOf, isAllowed, without, type Access } from './access.ts';
import { deployDirectory, run } from './manifests.ts';

const read = ['get', 'list', 'watch'];
const operate = [...read, 'create', 'patch', 'delete'];
const namespace = 'kmm-operator-system';
const kmm = 'kmm.sigs.x-k8s.io';

/** In every namespace, and of what has none. */
const controllerEverywhere: Access = {
  [`${kmm}/modules`]: [...read, 'patch'],
  [`${kmm}/modules/status`]: ['patch'],
  [`${kmm}/preflightvalidations`]: [...read, 'create', 'patch'],
  [`${kmm}/preflightvalidations/status`]: ['patch'],
  [`${kmm}/preflightvalidationsocp`]: read,
  [`${kmm}/preflightvalidationsocp/status`]: ['patch'],
  [`${kmm}/nodemodulesconfigs`]: operate,
  [`${kmm}/nodemodulesconfigs/status`]: ['patch'],
  [`${kmm}/bootmoduleconfigs`]: [...read, 'patch'],
  [`${kmm}/bootmoduleconfigs/status`]: ['patch'],
  nodes: [...read, 'patch'],
  pods: ['list', 'watch', 'patch', 'delete'],
  'pods/log': ['get'],
  serviceaccounts: read,
  'batch/jobs': [...read, 'create', 'delete'],
  'apps/daemonsets': operate,
  'resource.k8s.io/deviceclasses': operate,
  'events.k8s.io/events': ['create', 'patch'],
  'authentication.k8s.io/tokenreviews': ['create'],
  'authorization.k8s.io/subjectaccessreviews': ['create'],
};
const references: Access = { secrets: read, configmaps: read, persistentvolumeclaims: ['get'] };
const inItsNamespace: Access = {
  ...references,
  'coordination.k8s.io/leases': ['get', 'create', 'update'],
  'pods/status': ['patch'],
};

describeWith([...apiServerPrograms, 'kubectl'], 'what the accounts may do', () => {
  let api: ApiServer;
  let client: ApiClient;
  /** What an account without any roles may do. */
  let everybody: Access;

  const kubectl = (command: string, ...args: string[]): Promise<string> =>
    run('kubectl', ['--kubeconfig', api.kubeconfig, ...command.split(' '), ...args]);
  /** Of an account of the operator on OpenShift. */
  const ask = (name: string, attributes: Record<string, string>): Promise<boolean> =>
    isAllowed(client, { account: { namespace: 'openshift-kmm', name }, attributes });
  const access = async (name: string, within?: string): Promise<Access> =>
    without(await accessOf(client, { namespace, name }, within), everybody);

  beforeAll(async () => {
    api = await startApiServer();
    client = await api.client();
    await kubectl('apply --server-side -k', `${deployDirectory}overlays/kubernetes`);
    everybody = await accessOf(client, { namespace, name: 'nobody' });
  });
  afterAll(async () => api?.[Symbol.asyncDispose]());

  it('are not hidden by what every account may do', () => {
    expect(Object.keys(everybody).filter((resource) => !resource.includes('selfsubject'))).toEqual([]);
  });

  describe('kmm-operator-controller', () => {
    it('may do everywhere what it must, and nothing else', async () => {
      expect(await access('kmm-operator-controller')).toEqual(controllerEverywhere);
      expect(await access('kmm-operator-controller', 'default')).toEqual(controllerEverywhere);
    });

    it('may also lead, and read what Modules refer to, in its own namespace', async () => {
      const own = await access('kmm-operator-controller', namespace);
      expect(own).toEqual({ ...controllerEverywhere, ...inItsNamespace });
    });

    it('may be the owner that holds up its deletion', async () => {
      const account = { namespace, name: 'kmm-operator-controller' };
      for (const resource of ['modules', 'preflightvalidations', 'preflightvalidationsocp']) {
        const attributes = { group: kmm, resource, subresource: 'finalizers', verb: 'update' };
        expect([resource, await isAllowed(client, { account, attributes })]).toEqual([resource, true]);
      }
    });

    it('reads Secrets of another namespace only once that is allowed', async () => {
      const operator = `system:serviceaccount:${namespace}:kmm-operator-controller`;
      const readSecrets = (of: string): Promise<string> =>
        kubectl(`get secrets --namespace ${of} --as ${operator}`);
      await kubectl('create namespace drivers');
      await expect(readSecrets('drivers')).rejects.toThrow('Forbidden');
      await kubectl(
        'create rolebinding kmm-operator-references --namespace drivers --clusterrole kmm-operator-references',
        `--serviceaccount=${namespace}:kmm-operator-controller`,
      );
      await readSecrets('drivers');
      await expect(readSecrets('kube-system')).rejects.toThrow('Forbidden');
    });
  });

  describe('kmm-operator-webhook', () => {
    it('may list Modules, and nothing else with objects of any name', async () => {
      const everywhere = { [`${kmm}/modules`]: ['list'] };
      expect(await access('kmm-operator-webhook')).toEqual(everywhere);
      expect(await access('kmm-operator-webhook', namespace)).toEqual(everywhere);
    });

    it('may change its certificate and its own configuration, and cannot make or delete any', async () => {
      const account = { namespace, name: 'kmm-operator-webhook' };
      const certificate = {
        resource: 'secrets',
        name: 'kmm-operator-webhook-certificate',
        namespace,
      };
      const configuration = {
        group: 'admissionregistration.k8s.io',
        resource: 'validatingwebhookconfigurations',
        name: 'kmm-operator-validating-webhook-configuration',
      };
      for (const attributes of [certificate, configuration]) {
        const asked = ['get', 'update', 'list', 'patch', 'create', 'delete'];
        const answers = await Promise.all(
          asked.map((verb) => isAllowed(client, { account, attributes: { ...attributes, verb } })),
        );
        expect(answers).toEqual([true, true, true, false, false, false]);
      }
      const other = { ...certificate, namespace: 'default', verb: 'get' };
      expect(await isAllowed(client, { account, attributes: other })).toBe(false);
    });
  });

  it.each(['kmm-operator-module-loader', 'kmm-operator-device-plugin'])('%s may do nothing', async (name) => {
    expect(await access(name, namespace)).toEqual({});
  });

  it('leave the webhook neither a Secret nor a configuration to change with cert-manager', async () => {
    const rendered = await run('kubectl', ['kustomize', `${deployDirectory}overlays/cert-manager`]);
    expect(rendered).not.toContain('kind: Secret');
    expect(rendered).not.toContain('resourceNames');
  });

  describe('users', () => {
    it.each([
      ['viewer', { get: true, create: false, deletecollection: false }],
      ['editor', { get: true, create: true, deletecollection: false }],
      ['admin', { get: true, create: true, deletecollection: true }],
    ])('with the role of a module %s have its rights in the namespace of the binding', async (role, rights) => {
      const name = `user-${role}`;
      const clusterRole = `kmm-operator-module-${role}`;
      await kubectl(
        `create rolebinding ${name} --namespace default --clusterrole ${clusterRole}`,
        `--serviceaccount=${namespace}:${name}`,
      );
      for (const [verb, allowed] of Object.entries(rights)) {
        const attributes = { group: kmm, resource: 'modules', namespace: 'default', verb };
        const account = { namespace, name };
        expect([verb, await isAllowed(client, { account, attributes })]).toEqual([verb, allowed]);
        const elsewhere = { ...attributes, namespace: 'kube-system' };
        expect(await isAllowed(client, { account, attributes: elsewhere })).toBe(false);
      }
    });
  });

  it('lets the operator of OpenShift read image streams there only, and its pods be privileged', async () => {
    await kubectl('create namespace openshift');
    await kubectl('apply --server-side -k', `${deployDirectory}overlays/openshift`);
    const streams = { group: 'image.openshift.io', resource: 'imagestreams', verb: 'watch' };
    expect(await ask('kmm-operator-controller', { ...streams, namespace: 'openshift' })).toBe(true);
    expect(await ask('kmm-operator-controller', { ...streams, namespace: 'default' })).toBe(false);
    const use = { group: 'security.openshift.io', resource: 'securitycontextconstraints', verb: 'use' };
    for (const name of ['kmm-operator-module-loader', 'kmm-operator-device-plugin']) {
      const privileged = { ...use, name: 'privileged', namespace: 'openshift-kmm' };
      expect(await ask(name, privileged)).toBe(true);
      expect(await ask(name, { ...privileged, name: 'hostaccess' })).toBe(false);
      expect(await ask(name, { ...privileged, namespace: 'default' })).toBe(false);
    }
    expect(await ask('kmm-operator-controller', { ...use, name: 'privileged' })).toBe(false);
  });
});
