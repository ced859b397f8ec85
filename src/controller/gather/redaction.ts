import { redactTokens } from '../../shared/printable.ts';
import type { CustomResource } from '../observe/cluster/resources.ts';

const redacted = '[redacted]';
const privateKey = /-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----[\s\S]*?(?:-----END \1-----|$)/g;
/** User name and password of a URL. */
const urlCredentials = /(?<=[a-z][a-z0-9+.-]{1,20}:\/\/)[^\s/@"']+@/gi;
/** Flags that give a password or token on a command line. */
const secretFlag = /(?<=--?[\w-]{0,40}(?:passw|token)[\w-]{0,40}=)\S+/gi;
/** Names of variables and arguments whose values are not written. */
const secretName = /passw|token|secret|credential|api_?key|private_?key/i;
/** Repeats the object, or says only who wrote which field. */
const noisyAnnotations = new Set(['kubectl.kubernetes.io/last-applied-configuration']);

/** Removes private keys, tokens, and passwords in URLs from text. */
export function redactText(text: string): string {
  return redactTokens(text)
    .replaceAll(privateKey, (_, kind: string) => `-----BEGIN ${kind}----- ${redacted}`)
    .replaceAll(urlCredentials, `${redacted}@`)
    .replaceAll(secretFlag, redacted);
}

/**
 * Returns an object as it is written: without what changes all the time and says nothing (managed fields,
 * resource versions, heartbeats, a node's images, schemas of CustomResourceDefinitions), and without secrets.
 */
export function cleanObject<T extends CustomResource>(object: T): T {
  const { annotations, ...metadata } = object.metadata;
  const kept = Object.entries(annotations ?? {}).filter(([key]) => !noisyAnnotations.has(key));
  const cleaned = {
    ...object,
    metadata: {
      ...metadata,
      managedFields: undefined,
      resourceVersion: undefined,
      ...(kept.length === 0 ? {} : { annotations: Object.fromEntries(kept) }),
    },
  };
  return redactValue(cleaned, object.kind ?? '') as T;
}

/** Fields that are left out, by kind. */
const omittedFields: Readonly<Record<string, readonly string[]>> = {
  Node: ['images', 'lastHeartbeatTime'],
  CustomResourceDefinition: ['schema'],
  ConfigMap: ['binaryData'],
  Lease: ['renewTime'],
};

function redactValue(value: unknown, kind: string): unknown {
  if (typeof value === 'string') return redactText(value);
  if (Array.isArray(value)) return value.map((item) => redactValue(item, kind));
  if (typeof value !== 'object' || value === null) return value;
  const omitted = omittedFields[kind] ?? [];
  return Object.fromEntries(
    Object.entries(hideNamedValue(value))
      .filter(([key, field]) => field !== undefined && !omitted.includes(key))
      .map(([key, field]) => [key, redactValue(field, kind)]),
  );
}

/** Hides the value of an environment variable or build argument with a telling name. */
function hideNamedValue(value: object): object {
  const isNamed = 'name' in value && 'value' in value && typeof value.name === 'string';
  return isNamed && secretName.test(value.name as string) ? { ...value, value: redacted } : value;
}
