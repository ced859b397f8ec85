import pLimit from 'p-limit';
import * as z from 'zod';
import type { ApiClient } from '../../src/controller/runtime/api/client.ts';

/** What an account may do: `group/resource` and the verbs. The core group has no name. */
export type Access = Readonly<Record<string, readonly string[]>>;

const verbs = ['get', 'list', 'watch', 'create', 'update', 'patch', 'delete', 'deletecollection'];
/** Verbs that are no requests, but let an account become more than it is. */
const specialVerbs = ['bind', 'escalate', 'impersonate', 'use', 'approve', 'sign'];

const groupList = z.object({
  groups: z.array(z.object({ versions: z.array(z.object({ groupVersion: z.string() })) })),
});
const resourceList = z.object({
  groupVersion: z.string(),
  resources: z.array(z.object({ name: z.string(), namespaced: z.boolean() })),
});
const review = z.object({ status: z.object({ allowed: z.boolean() }) });

interface Question {
  readonly account: { readonly namespace: string; readonly name: string };
  readonly attributes: Readonly<Record<string, string>>;
}

/** Asks the API server's authorizer whether a service account may do something. */
export async function isAllowed(client: ApiClient, { account, attributes }: Question): Promise<boolean> {
  const answer = await client.request({
    method: 'POST',
    path: '/apis/authorization.k8s.io/v1/subjectaccessreviews',
    body: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: {
        user: `system:serviceaccount:${account.namespace}:${account.name}`,
        groups: [
          'system:serviceaccounts',
          `system:serviceaccounts:${account.namespace}`,
          'system:authenticated',
        ],
        resourceAttributes: attributes,
      },
    },
  });
  return review.parse(answer).status.allowed;
}

/**
 * All that a service account may do with any object, of all that the API server has: in one namespace, or
 * without one everywhere. What every account may do is in it too.
 */
export async function accessOf(
  client: ApiClient,
  account: Question['account'],
  namespace?: string,
): Promise<Access> {
  const limit = pLimit(16);
  const resources = await allResources(client);
  const access = await Promise.all(
    resources.map(async ({ group, name, namespaced }) => {
      const [resource = '', subresource = ''] = name.split('/');
      const attributes = {
        group,
        resource,
        subresource,
        ...(namespaced && namespace !== undefined ? { namespace } : {}),
      };
      const allowed = await Promise.all(
        [...verbs, ...specialVerbs].map((verb) =>
          limit(() => isAllowed(client, { account, attributes: { ...attributes, verb } })),
        ),
      );
      return [
        group === '' ? name : `${group}/${name}`,
        [...verbs, ...specialVerbs].filter((_, index) => allowed[index]),
      ] as const;
    }),
  );
  return Object.fromEntries(access.filter(([, allowed]) => allowed.length > 0));
}

/** What is in one access and not in the other. */
export function without(access: Access, other: Access): Access {
  const own = Object.entries(access).map(
    ([resource, allowed]) => [resource, allowed.filter((verb) => !other[resource]?.includes(verb))] as const,
  );
  return Object.fromEntries(own.filter(([, allowed]) => allowed.length > 0));
}

interface KnownResource {
  readonly group: string;
  readonly name: string;
  readonly namespaced: boolean;
}

async function allResources(client: ApiClient): Promise<KnownResource[]> {
  const { groups } = groupList.parse(await client.request({ method: 'GET', path: '/apis' }));
  const versions = groups.flatMap((group) => group.versions);
  const paths = ['/api/v1', ...versions.map(({ groupVersion }) => `/apis/${groupVersion}`)];
  const lists = await Promise.all(
    paths.map(async (path) => resourceList.parse(await client.request({ method: 'GET', path }))),
  );
  const served = lists.flatMap(({ groupVersion, resources }) =>
    resources.map(({ name, namespaced }) => ({
      group: groupVersion.includes('/') ? (groupVersion.split('/')[0] ?? '') : '',
      name,
      namespaced,
    })),
  );
  const different = new Map(served.map((resource) => [`${resource.group}/${resource.name}`, resource]));
  // Served nowhere, but asked for: users and groups to become, and what only OpenShift has.
  return [
    ...different.values(),
    { group: '', name: 'users', namespaced: false },
    { group: '', name: 'groups', namespaced: false },
    { group: 'image.openshift.io', name: 'imagestreams', namespaced: true },
    { group: 'security.openshift.io', name: 'securitycontextconstraints', namespaced: false },
  ];
}
