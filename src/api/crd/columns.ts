import type { V1CustomResourceColumnDefinition } from '@kubernetes/client-node';

/** Returns a column of kubectl get that shows a field of a condition. Above priority 0, only -o wide shows it. */
export function conditionColumn(
  name: string,
  type: string,
  field: 'status' | 'reason' | 'message',
  priority = 0,
): V1CustomResourceColumnDefinition {
  return { name, type: 'string', jsonPath: `.status.conditions[?(@.type=="${type}")].${field}`, priority };
}

/** Returns a column that shows a number. */
export function counterColumn(name: string, jsonPath: string): V1CustomResourceColumnDefinition {
  return { name, type: 'integer', jsonPath };
}
