/** How a node's facts are published: by us as labels, or by Node Feature Discovery. */
export type TrustPublisher = 'labels' | 'nfd';

/** The prefixes of the labels. They are the same whoever publishes them, so that Modules need not know. */
export const trustPrefix = 'trust.kmm.sigs.x-k8s.io/';
/** Followed by the key's identifier: the SubjectKeyIdentifier of its certificate in lower case hex, or its serial number. */
export const keyPrefix = 'key.trust.kmm.sigs.x-k8s.io/';

/** Facts that a node reports, and the values that they may have. */
const values: ReadonlyMap<string, readonly string[]> = new Map([
  ['secure-boot', ['true', 'false']],
  ['lockdown', ['none', 'integrity', 'confidentiality']],
  ['sig-enforce', ['true', 'false']],
  ['signature-required', ['true', 'false']],
]);
/** What a key's line says: it is in a keyring for modules, or only in the one of the firmware. */
const keyLine = /^key-([0-9a-f]{2,62})=(true|platform)$/;
const factLine = /^([a-z-]+)=([a-z]+)$/;

/** Returns the labels for what a node reports: lines such as `secure-boot=true`. Others are ignored. */
export function trustLabels(report: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const line of report.split('\n')) {
    const [, id, ring] = keyLine.exec(line) ?? [];
    if (id !== undefined && ring !== undefined) labels[`${keyPrefix}${id}`] = ring;
    const [, fact, value] = factLine.exec(line) ?? [];
    if (fact !== undefined && value !== undefined && values.get(fact)?.includes(value) === true) {
      labels[`${trustPrefix}${fact}`] = value;
    }
  }
  return labels;
}

/** Returns those of some labels that say what a node trusts. */
export function onlyTrust(labels: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(labels).filter(([key]) => key.startsWith(trustPrefix) || key.startsWith(keyPrefix)),
  );
}
