import type { V1EnvVar, V1ObjectFieldSelector } from '@kubernetes/client-node';
import type { ApiClient } from '../../../src/controller/runtime/api/client.ts';
import { isApiError } from '../../../src/controller/runtime/api/errors.ts';
import { configMaps, secrets, type Pod } from '../../../src/controller/observe/cluster/resources.ts';

/** Something that a pod refers to does not exist yet. */
export class MissingReference extends Error {
  override readonly name = 'MissingReference';
}

/** Reads what a pod refers to. */
export interface References {
  /** Reads the files of a Secret; undefined if it is optional and missing. @throws MissingReference */
  secret(name: string, optional?: boolean): Promise<ReadonlyMap<string, Buffer> | undefined>;
  /** Reads the files of a ConfigMap; undefined if it is optional and missing. @throws MissingReference */
  configMap(name: string, optional?: boolean): Promise<ReadonlyMap<string, Buffer> | undefined>;
  /** Returns a field of the pod. */
  field(selector: V1ObjectFieldSelector): string;
}

/** Returns the references of one pod. */
export function referencesOf(client: ApiClient, pod: Pod): References {
  const namespace = pod.metadata.namespace ?? '';
  return {
    secret: (name, optional = false) =>
      found(`secret "${name}" not found`, optional, async () => {
        const { data = {} } = await client.get(secrets, { namespace, name });
        return new Map(Object.entries(data).map(([key, value]) => [key, Buffer.from(value, 'base64')]));
      }),
    configMap: (name, optional = false) =>
      found(`configmap "${name}" not found`, optional, async () => {
        const { data = {}, binaryData = {} } = await client.get(configMaps, { namespace, name });
        return new Map([
          ...Object.entries(data).map(([key, value]) => [key, Buffer.from(value)] as const),
          ...Object.entries(binaryData).map(([key, value]) => [key, Buffer.from(value, 'base64')] as const),
        ]);
      }),
    field: ({ fieldPath }) => fieldOf(pod, fieldPath),
  };
}

async function found<T>(missing: string, optional: boolean, read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!isApiError(error)) throw error;
    if (error.code !== 'NOT_FOUND') throw new MissingReference(error.message, { cause: error });
    if (optional) return undefined;
    throw new MissingReference(missing, { cause: error });
  }
}

/** Returns a field of the downward API; for a whole map, a line `key="value"` for each entry. */
function fieldOf({ metadata, spec }: Pod, fieldPath: string): string {
  const keyed = /^metadata\.(?<map>annotations|labels)(?:\['(?<key>[^']+)'\])?$/.exec(fieldPath)?.groups;
  if (keyed !== undefined) {
    const map = metadata[keyed['map'] === 'labels' ? 'labels' : 'annotations'] ?? {};
    const key = keyed['key'];
    if (key !== undefined) return map[key] ?? '';
    return Object.entries(map)
      .map(([name, value]) => `${name}=${JSON.stringify(value)}`)
      .join('\n');
  }
  const fields: Readonly<Record<string, string | undefined>> = {
    'metadata.name': metadata.name,
    'metadata.namespace': metadata.namespace,
    'metadata.uid': metadata.uid,
    'spec.nodeName': spec?.nodeName,
    'spec.serviceAccountName': spec?.serviceAccountName,
    'status.podIP': '127.0.0.1',
    'status.hostIP': '127.0.0.1',
  };
  const value = fields[fieldPath];
  if (value === undefined) throw new Error(`the field ${fieldPath} is not known`);
  return value;
}

/** Builds the environment from a container's `env`, with `$(NAME)` expanded. @throws MissingReference */
export async function environmentOf(
  variables: readonly V1EnvVar[],
  references: References,
): Promise<Record<string, string>> {
  const env: Record<string, string> = {};
  for (const variable of variables) {
    const value = await valueOf(variable, references);
    if (value !== undefined) env[variable.name] = expand(value, env);
  }
  return env;
}

async function valueOf(
  { value = '', valueFrom }: V1EnvVar,
  references: References,
): Promise<string | undefined> {
  const { fieldRef, secretKeyRef, configMapKeyRef } = valueFrom ?? {};
  if (fieldRef !== undefined) return references.field(fieldRef);
  const selector = secretKeyRef ?? configMapKeyRef;
  if (selector === undefined) return value;
  const { name = '', key, optional } = selector;
  const files = await (secretKeyRef === undefined
    ? references.configMap(name, optional)
    : references.secret(name, optional));
  const bytes = files?.get(key);
  if (bytes === undefined && optional !== true)
    throw new MissingReference(`couldn't find key ${key} in ${name}`);
  return bytes?.toString();
}

/** Replaces `$(NAME)` by the variable if it exists; `$$(NAME)` is an escaped `$(NAME)`. */
export function expand(text: string, env: Readonly<Record<string, string>>): string {
  return text.replaceAll(
    /\$(?:\$|\((?<name>[-._a-zA-Z0-9]+)\))/g,
    (match: string, name: string | undefined) => (name === undefined ? '$' : (env[name] ?? match)),
  );
}
