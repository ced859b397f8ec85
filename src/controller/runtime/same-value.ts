/**
 * Returns whether two values are equal as JSON. Ignores the order of properties, undefined properties, and
 * empty lists, which the API server drops from what is applied.
 */
export function isSameValue(one: unknown, other: unknown): boolean {
  if (one === other) return true;
  if (Array.isArray(one)) {
    if (!Array.isArray(other) || one.length !== other.length) return false;
    return one.every((entry, index) => isSameValue(entry, other[index]));
  }
  if (!isObject(one) || !isObject(other) || Array.isArray(other)) return false;
  const names = present(one);
  return (
    names.length === present(other).length &&
    names.every((name) => !isDropped(other[name]) && isSameValue(one[name], other[name]))
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function present(value: Readonly<Record<string, unknown>>): string[] {
  return Object.keys(value).filter((name) => !isDropped(value[name]));
}

function isDropped(value: unknown): boolean {
  return value === undefined || (Array.isArray(value) && value.length === 0);
}
