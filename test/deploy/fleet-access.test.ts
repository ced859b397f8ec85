import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';
import { apiServerPrograms, startApiServer, type ApiServer } from '../support/api-server.ts';
import { installDefinitions } from '../support/custom-resources.ts';
import { readDefinitions } from '../support/hub/crds.ts';
import { describeWith } from '../support/programs.ts';
import { accessOf, isAllowed, without, type Access } from './access.ts';
import { deployDirectory, run } from './manifests.ts';

const read = ['get', 'list', 'watch'];
const operate = [...read, 'create', 'patch', 'delete'];
const kmm = 'kmm.sigs.x-k8s.io';
const hubGroup = `hub.${kmm}`;
const ocm = 'open-cluster-management.io';
const hubNamespace = 'kmm-operator-hub';
const spokeNamespace = 'kmm-operator-system';

/** Of both: who may read the metrics is asked of the API server, and events are written. */
const always: Access = {
  'events.k8s.io/events': ['create', 'patch'],
  'authentication.k8s.io/tokenreviews': ['create'],
  'authorization.k8s.io/subjectaccessreviews': ['create'],
};
const hubEverywhere: Access = {
  ...always,
  [`${hubGroup}/managedclustermodules`]: read,
  [`${hubGroup}/managedclustermodules/status`]: ['update'],
  [`cluster.${ocm}/managedclusters`]: read,
  [`work.${ocm}/manifestworks`]: operate,
};
const hubInItsNamespace: Access = {
  'batch/jobs': [...read, 'create', 'delete'],
  pods: ['list', 'watch'],
  'pods/log': ['get'],
  secrets: read,
  configmaps: read,
  serviceaccounts: read,
  persistentvolumeclaims: ['get'],
  'coordination.k8s.io/leases': ['get', 'create', 'update'],
  'pods/status': ['patch'],
};
/** It makes no Jobs and asks for no logs of theirs, and writes nothing of preflight validations. */
const spokeEverywhere: Access = {
  ...always,
  [`${kmm}/modules`]: [...read, 'patch'],
  [`${kmm}/modules/status`]: ['patch'],
  [`${kmm}/preflightvalidations`]: read,
  [`${kmm}/preflightvalidationsocp`]: read,
  [`cluster.${ocm}/clusterclaims`]: operate,
  [`${kmm}/nodemodulesconfigs`]: operate,
  [`${kmm}/nodemodulesconfigs/status`]: ['patch'],
  [`${kmm}/bootmoduleconfigs`]: [...read, 'patch'],
  [`${kmm}/bootmoduleconfigs/status`]: ['patch'],
  nodes: [...read, 'patch'],
  pods: ['list', 'watch', 'patch', 'delete'],
  serviceaccounts: read,
  'batch/jobs': [...read, 'delete'],
  'apps/daemonsets': operate,
  'resource.k8s.io/deviceclasses': operate,
};
const spokeInItsNamespace: Access = {
  secrets: read,
  configmaps: read,
  'coordination.k8s.io/leases': ['get', 'create', 'update'],
  'pods/status': ['patch'],
};

/** A service account. */
function account(namespace: string, name: string): { namespace: string; name: string } {
  return { namespace, name };
}

describeWith([...apiServerPrograms, 'kubectl'], 'what the accounts of hubs and spokes may do', () => {
  let api: ApiServer;
  let client: ApiClient;
  /** What an account without any roles may do. */
  let everybody: Access;

  const kubectl = (command: string, ...args: string[]): Promise<string> =>
    run('kubectl', ['--kubeconfig', api.kubeconfig, ...command.split(' '), ...args]);
  const access = async (namespace: string, name: string, within?: string): Promise<Access> =>
    without(await accessOf(client, account(namespace, name), within), everybody);
  const ask = (namespace: string, name: string, attributes: Record<string, string>): Promise<boolean> =>
    isAllowed(client, { account: account(namespace, name), attributes });
  const install = (overlay: string): Promise<string> =>
    kubectl('apply --server-side -k', `${deployDirectory}overlays/${overlay}`);

  beforeAll(async () => {
    api = await startApiServer();
    client = await api.client();
    await installDefinitions(client, readDefinitions('ocm-crds'));
    // A hub may be its own spoke.
    await install('hub');
    await install('spoke');
    everybody = await accessOf(client, account(spokeNamespace, 'nobody'));
  });
  afterAll(async () => api?.[Symbol.asyncDispose]());

  describe('kmm-operator-hub-controller', () => {
    const name = 'kmm-operator-hub-controller';

    it('may do for the whole fleet what it must, and nothing else', async () => {
      expect(await access(hubNamespace, name)).toEqual(hubEverywhere);
      expect(await access(hubNamespace, name, spokeNamespace)).toEqual(hubEverywhere);
    });

    it('may run Jobs, lead and read Secrets and ConfigMaps in its own namespace', async () => {
      const own = await access(hubNamespace, name, hubNamespace);
      expect(own).toEqual({ ...hubEverywhere, ...hubInItsNamespace });
    });

    it('may be the owner of ManifestWorks', async () => {
      const attributes = {
        group: hubGroup,
        resource: 'managedclustermodules',
        subresource: 'finalizers',
        verb: 'update',
      };
      expect(await ask(hubNamespace, name, attributes)).toBe(true);
    });
  });

  describe('kmm-operator-hub-webhook', () => {
    const name = 'kmm-operator-hub-webhook';

    it('may do nothing with objects of any name', async () => {
      expect(await access(hubNamespace, name)).toEqual({});
      expect(await access(hubNamespace, name, hubNamespace)).toEqual({});
    });

    it("may change its own certificate and configuration, and not those of the operator's webhook", async () => {
      const certificate = { resource: 'secrets', namespace: hubNamespace };
      const configuration = {
        group: 'admissionregistration.k8s.io',
        resource: 'validatingwebhookconfigurations',
      };
      const objects = [
        { ...certificate, name: 'kmm-operator-hub-webhook-certificate' },
        { ...configuration, name: 'kmm-operator-hub-validating-webhook-configuration' },
        { ...certificate, name: 'kmm-operator-webhook-certificate' },
        { ...configuration, name: 'kmm-operator-validating-webhook-configuration' },
      ];
      const asked = ['get', 'update', 'list', 'patch', 'create', 'delete'];
      const answers = objects.map((attributes) =>
        Promise.all(
          asked.map((verb) =>
            ask(hubNamespace, name, { ...attributes, verb }),
          ),
        ),
      );
      const own = [true, true, true, false, false, false];
      const none = asked.map(() => false);
      expect(await Promise.all(answers)).toEqual([own, own, none, none]);
    });
  });

  it("leaves the account of the hub's Jobs without any right", async () => {
    expect(await access(hubNamespace, 'default', hubNamespace)).toEqual({});
  });

  describe('kmm-operator-controller of a spoke', () => {
    const name = 'kmm-operator-controller';

    it('may load modules and publish claims, and neither build nor sign', async () => {
      expect(await access(spokeNamespace, name)).toEqual(spokeEverywhere);
      expect(await access(spokeNamespace, name, 'default')).toEqual(spokeEverywhere);
    });

    it('may also lead, and read what Modules refer to, in its own namespace', async () => {
      const own = await access(spokeNamespace, name, spokeNamespace);
      expect(own).toEqual({ ...spokeEverywhere, ...spokeInItsNamespace });
    });

    it('may own DaemonSets of Modules, and nothing of preflight validations', async () => {
      const answers = ['modules', 'preflightvalidations', 'preflightvalidationsocp'].map((resource) =>
        ask(spokeNamespace, name, { group: kmm, resource, subresource: 'finalizers', verb: 'update' }),
      );
      expect(await Promise.all(answers)).toEqual([true, false, false]);
    });
  });

  it('gives the work agent Modules, and nothing else', async () => {
    const modules = { [`${kmm}/modules`]: [...read, 'create', 'update', 'patch', 'delete'] };
    const agent = ['open-cluster-management-agent', 'klusterlet-work-sa'] as const;
    expect(await access(...agent)).toEqual(modules);
    expect(await access(...agent, spokeNamespace)).toEqual(modules);
  });

  it.each([
    ['viewer', { get: true, create: false, delete: false, deletecollection: false }],
    ['editor', { get: true, create: true, delete: true, deletecollection: false }],
  ])('gives a %s of ManagedClusterModules the rights of the role', async (role, rights) => {
    const name = `user-${role}`;
    await kubectl(
      `create clusterrolebinding ${name} --clusterrole kmm-operator-hub-managedclustermodule-${role}`,
      `--serviceaccount=default:${name}`,
    );
    const verbs = Object.keys(rights);
    // The API server learns of a binding a moment after it has stored it.
    await vi.waitFor(async () => {
      const answers = await Promise.all(
        verbs.map((verb) => ask('default', name, { group: hubGroup, resource: 'managedclustermodules', verb })),
      );
      expect(Object.fromEntries(verbs.map((verb, index) => [verb, answers[index]]))).toEqual(rights);
    });
  });

  it('gives nobody ManagedClusterModules through the roles of the cluster: they may use every key', async () => {
    const rendered = await run('kubectl', ['kustomize', `${deployDirectory}overlays/hub`]);
    expect(rendered).not.toContain('aggregate-to-');
  });

  describe('on OpenShift', () => {
    const [hub, spoke] = ['openshift-kmm-hub', 'openshift-kmm'];

    beforeAll(async () => {
      await kubectl('create namespace openshift');
      await install('hub-openshift');
      await install('spoke-openshift');
    });

    it("lets a hub read the Driver Toolkit's image stream, and its builds run as root", async () => {
      const streams = { group: 'image.openshift.io', resource: 'imagestreams', verb: 'watch' };
      const controller = 'kmm-operator-hub-controller';
      expect(await ask(hub, controller, { ...streams, namespace: 'openshift' })).toBe(true);
      expect(await ask(hub, controller, { ...streams, namespace: 'default' })).toBe(false);
      const use = { group: 'security.openshift.io', resource: 'securitycontextconstraints', verb: 'use' };
      const privileged = { ...use, name: 'privileged', namespace: hub };
      expect(await ask(hub, 'default', privileged)).toBe(true);
      expect(await ask(hub, 'default', { ...privileged, name: 'hostaccess' })).toBe(false);
      expect(await ask(hub, 'default', { ...privileged, namespace: 'default' })).toBe(false);
      expect(await ask(hub, controller, privileged)).toBe(false);
    });

    it('lets a spoke publish claims', async () => {
      const claims = { group: `cluster.${ocm}`, resource: 'clusterclaims', verb: 'create' };
      expect(await ask(spoke, 'kmm-operator-controller', claims)).toBe(true);
      expect(await ask(spokeNamespace, 'kmm-operator-controller', claims)).toBe(false);
    });
  });
});
