import type { KubernetesObject } from '../../runtime/api/object-key.ts';
import type { ApiError } from '../../runtime/api/errors.ts';
import type { Resource } from '../../runtime/api/resource.ts';
import { ReferencedObjectError } from './errors.ts';
import type { NamespacedKey } from './reference.ts';

/** The ClusterRole that lets its subject follow what Modules refer to. */
const clusterRole = 'kmm-operator-references';

/** The error for an object that the operator may not read: it shows the binding that would let it. */
export function forbidden<T extends KubernetesObject>(
  { kind }: Resource<T>,
  { namespace, name }: NamespacedKey,
  error: ApiError,
): ReferencedObjectError {
  return new ReferencedObjectError({
    code: 'REFERENCE_FORBIDDEN',
    message: `The operator may not read the ${kind} ${namespace}/${name}`,
    hint: `Let it: kubectl create rolebinding ${clusterRole} -n ${namespace} --clusterrole=${clusterRole} ${subjectOf(error.message)}`,
    facts: { kind, namespace, name },
  });
}

/** The API server says who it refused; only it knows for certain. */
function subjectOf(message: string): string {
  const user = /User "([^"\s]+)"/.exec(message)?.[1];
  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(user ?? '');
  if (account !== null) return `--serviceaccount=${account[1]}:${account[2]}`;
  return user === undefined ? '--serviceaccount=NAMESPACE:NAME' : `--user=${user}`;
}
