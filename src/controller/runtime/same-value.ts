/**
 * Returns whether two values are equal as JSON. Ignores the order of properties, undefined properties, and
 * empty lists, which the API server drops from what is applied.
 */
export function isSameValue(one: unknown, other: unknown): boolean {
  return JSON.stringify(sorted(one)) === JSON.stringify(sorted(other));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, property]) => property !== undefined && !isEmptyList(property))
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, property]) => [name, sorted(property)]),
  );
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}
