/**
 * Cleans a stored name for comparison: no leading `/` or `./`, no `.`, no empty part, no trailing `/`.
 * `''` is the root. Undefined when a part is `..`.
 */
export function cleanPath(name: string): string | undefined {
  const start = name.startsWith('./') ? 2 : 0;
  const end = name.endsWith('/') && name.length > start ? name.length - 1 : name.length;
  const candidate = start === 0 && end === name.length ? name : name.slice(start, end);
  if (!mayNeedCleaning(candidate)) return candidate;
  const parts = candidate.split('/').filter((part) => part !== '' && part !== '.');
  return parts.includes('..') ? undefined : parts.join('/');
}

function mayNeedCleaning(name: string): boolean {
  return (
    name.startsWith('/') ||
    name.startsWith('.') ||
    name.endsWith('/') ||
    name.includes('//') ||
    name.includes('/.')
  );
}
