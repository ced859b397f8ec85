import { KmmError } from '../../../shared/errors.ts';
import type { KubernetesObject, ObjectKey } from '../../runtime/api/object-key.ts';
import type { ApiError } from '../../runtime/api/errors.ts';
import type { Resource } from '../../runtime/api/resource.ts';

/** What a Module refers to by name. */
export type ReferenceKind = 'dockerfile' | 'certificate' | 'pull-secret' | 'service-account' | 'secret';

/** The key of an object in a namespace. */
export interface NamespacedKey {
  readonly namespace: string;
  readonly name: string;
}

/** An object that a Module refers to, and its purpose. */
export interface Reference {
  readonly kind: ReferenceKind;
  readonly key: NamespacedKey;
}

/** Why an object that a Module refers to cannot be used. */
export type ReferencedObjectErrorCode =
  /** The operator may not read it. */
  | 'REFERENCE_FORBIDDEN'
  /** A Secret without a readable certificate. */
  | 'INVALID_CERTIFICATE_SECRET'
  /** A Secret without registry credentials. */
  | 'INVALID_PULL_SECRET';

/** An object that a Module refers to cannot be used. `facts` has kind, namespace and name. */
export class ReferencedObjectError extends KmmError<ReferencedObjectErrorCode> {
  override readonly name = 'ReferencedObjectError';
}

/** The ClusterRole that allows its subject to follow what Modules refer to. */
const clusterRole = 'kmm-operator-references';

/** Returns the error for an object that the operator may not read, with a hint how to grant access. */
export function forbidden<T extends KubernetesObject>(
  { kind }: Resource<T>,
  { namespace, name }: ObjectKey,
  error: ApiError,
): ReferencedObjectError {
  return new ReferencedObjectError({
    code: 'REFERENCE_FORBIDDEN',
    message: `The operator may not read the ${kind} ${namespace}/${name}`,
    hint: `Allow it: kubectl create rolebinding ${clusterRole} -n ${namespace} --clusterrole=${clusterRole} ${subjectOf(error.message)}`,
    facts: { kind, namespace, name },
  });
}

/** Returns the subject of a role binding. Only the API server's message says for certain who was refused. */
function subjectOf(message: string): string {
  const user = /User "([^"\s]+)"/.exec(message)?.[1];
  const account = /^system:serviceaccount:([^:]+):([^:]+)$/.exec(user ?? '');
  if (account !== null) return `--serviceaccount=${account[1]}:${account[2]}`;
  return user === undefined ? '--serviceaccount=NAMESPACE:NAME' : `--user=${user}`;
}
