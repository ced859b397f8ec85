const dns1123Label = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const dns1123Subdomain = new RegExp(`^${dns1123Label}(\\.${dns1123Label})*$`);
const labelText = /^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$/;
const maxSubdomainLength = 253;

/** Maximum length of a label's value, and of the name in a label's key after the slash. */
export const maxLabelLength = 63;

/** Returns whether a text is a valid name for most objects (RFC 1123, subdomain). */
export function isDnsSubdomain(text: string): boolean {
  return text.length <= maxSubdomainLength && dns1123Subdomain.test(text);
}

/** Returns whether a text is a valid label value. */
export function isLabelValue(text: string): boolean {
  return text.length <= maxLabelLength && labelText.test(text);
}

/** Returns whether a text is a valid label key: `name` or `prefix/name`. */
export function isQualifiedName(text: string): boolean {
  const parts = text.split('/');
  const name = parts.at(-1) ?? '';
  if (parts.length > 2 || name === '' || !isLabelValue(name)) return false;
  return parts.length === 1 || isDnsSubdomain(parts[0] ?? '');
}
