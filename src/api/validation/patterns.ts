const dns1123Label = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const dns1123Subdomain = new RegExp(`^${dns1123Label}(\\.${dns1123Label})*$`);
const labelText = /^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$/;
const maxSubdomainLength = 253;

/** Characters of a label's value and of the name of a label's key after the slash. */
export const maxLabelLength = 63;

/** Tells whether a text may be the name of most objects (RFC 1123, subdomain). */
export function isDnsSubdomain(text: string): boolean {
  return text.length <= maxSubdomainLength && dns1123Subdomain.test(text);
}

/** Tells whether a text may be the value of a label. */
export function isLabelValue(text: string): boolean {
  return text.length <= maxLabelLength && labelText.test(text);
}

/** Tells whether a text may be the key of a label: `name` or `prefix/name`. */
export function isQualifiedName(text: string): boolean {
  const parts = text.split('/');
  const name = parts.at(-1) ?? '';
  if (parts.length > 2 || name === '' || !isLabelValue(name)) return false;
  return parts.length === 1 || isDnsSubdomain(parts[0] ?? '');
}
