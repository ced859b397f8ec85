// Sorts the objects of an overlay by who installs them: the Operator Lifecycle Manager makes accounts, roles and webhooks
// from the ClusterServiceVersion, and the rest are manifests of the bundle.

/** The kinds of manifests that every version of the Operator Lifecycle Manager installs from a bundle. */
const manifestKinds = ['ServiceAccount', 'ClusterRole', 'Role', 'RoleBinding', 'Service'];
/** What only an operator without a lifecycle manager needs: it makes the certificates of webhooks. */
const isOfCertificate = ({ metadata }) => metadata.name.endsWith('-webhook-certificate');

/** The accounts of the Deployments, under the names that they get. */
export function accountsOf(objects, rename) {
  const deployments = objects.filter(({ kind }) => kind === 'Deployment');
  return new Map(
    deployments.map(({ spec }) => {
      const { serviceAccountName: name } = spec.template.spec;
      return [name, rename(name)];
    }),
  );
}

/**
 * Returns the rules of each account: in the operator's namespace, and in all. Rights in a namespace of another product
 * become rights in all, since a ClusterServiceVersion knows no others.
 */
export function permissionsOf(objects, accounts, namespace) {
  const roles = new Map(
    objects
      .filter(({ kind }) => kind === 'Role' || kind === 'ClusterRole')
      .map((role) => [`${role.kind} ${role.metadata.namespace ?? ''} ${role.metadata.name}`, role.rules]),
  );
  const permissions = new Map();
  const clusterPermissions = new Map();
  for (const account of accounts.values()) {
    permissions.set(account, []);
    clusterPermissions.set(account, []);
  }
  const bindings = objects.filter(({ kind }) => kind === 'RoleBinding' || kind === 'ClusterRoleBinding');
  for (const { metadata, roleRef, subjects } of bindings.filter((one) => !isOfCertificate(one))) {
    const of = roleRef.kind === 'ClusterRole' ? '' : metadata.namespace;
    const rules = roles.get(`${roleRef.kind} ${of} ${roleRef.name}`);
    if (rules === undefined)
      throw new Error(`${metadata.name} binds ${roleRef.name}, which is not in the overlay`);
    for (const { name } of subjects.filter((subject) => accounts.has(subject.name))) {
      const target = metadata.namespace === namespace ? permissions : clusterPermissions;
      target.get(accounts.get(name)).push(...rules);
    }
  }
  return { permissions: toList(permissions), clusterPermissions: toList(clusterPermissions) };
}

function toList(rules) {
  return [...rules]
    .filter(([, list]) => list.length > 0)
    .map(([serviceAccountName, list]) => ({ serviceAccountName, rules: list }));
}

/** Returns the objects that are manifests of the bundle, without their namespace: the subscriber chooses it. */
export function manifestsOf(objects, accounts) {
  const bindings = objects.filter(({ kind }) => kind.endsWith('RoleBinding'));
  const isBoundToAccounts = ({ kind, metadata }) =>
    bindings.some(
      (binding) =>
        binding.roleRef.name === metadata.name &&
        binding.kind === `${kind}Binding` &&
        binding.subjects.some(({ name }) => accounts.has(name)),
    );
  // What is bound to an account is in the ClusterServiceVersion; of a ClusterRole that is bound in one namespace only, a copy.
  const isInstalled = (object) =>
    accounts.has(object.metadata.name) ||
    isBoundToAccounts(object) ||
    (object.subjects ?? []).some(({ name }) => accounts.has(name));
  return objects
    .filter(
      (object) => manifestKinds.includes(object.kind) && !isOfCertificate(object) && !isInstalled(object),
    )
    .filter(({ metadata }) => !metadata.name.endsWith('-webhook-service'))
    .map(({ metadata, ...object }) => ({
      ...object,
      metadata: Object.fromEntries(Object.entries(metadata).filter(([key]) => key !== 'namespace')),
    }));
}
