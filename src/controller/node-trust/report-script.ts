import { keyPrefix, trustPrefix } from './labels.ts';

/** Directories of the pod. */
export const trustDirectories = {
  /** The node's /proc and /sys. */
  proc: '/host/proc',
  sys: '/host/sys',
  /** What was reported last. */
  state: '/run/kmm-trust',
  /** The node's features.d; only where Node Feature Discovery publishes. */
  features: '/host/features.d',
} as const;

/** The most keys that are reported: a container's last words have 4096 bytes. */
const maxKeys = 60;
/** Seconds between two looks at the node. */
const interval = 60;

/** What both programs begin with: the node's facts, as lines `name=value`. */
const facts = [
  'secure_boot() {',
  `  cd ${trustDirectories.sys}/firmware || return`,
  // A machine without UEFI has no Secure Boot.
  '  [ -d efi ] || { echo false; return; }',
  '  variable=efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c',
  // Four bytes of attributes, then the value.
  '  case $(od -An -tu1 -j4 -N1 "$variable" 2>/dev/null | tr -d " ") in 1) echo true ;; 0) echo false ;; esac',
  '}',
  'lockdown() { sed -n "s/.*\\[\\([a-z]*\\)\\].*/\\1/p" ' +
    `${trustDirectories.sys}/kernel/security/lockdown 2>/dev/null; }`,
  'sig_enforce() {',
  `  case $(cat ${trustDirectories.sys}/module/module/parameters/sig_enforce 2>/dev/null) in Y) echo true ;; N) echo false ;; esac`,
  '}',
  // The numbers of the keys in a keyring, in hex as in /proc/keys.
  'members() {',
  `  ring=$(awk -v name="$1:" '$8 == "keyring" && $9 == name { print $1; exit }' ${trustDirectories.proc}/keys)`,
  '  [ -n "$ring" ] || return 0',
  '  for serial in $(keyctl rlist "0x$ring" 2>/dev/null); do printf "%08x\\n" "$serial"; done',
  '}',
  // The identifiers of keys, as /proc/keys has them between the subject and the algorithm.
  'identifiers() {',
  '  while read -r serial; do',
  `    sed -n "s/^$serial .* asymmetri[^ ]* .*: \\([0-9a-f]\\{2,62\\}\\): X509\\..*/\\1/p" ${trustDirectories.proc}/keys`,
  '  done',
  '}',
  'keys() {',
  '  trusted=$(for ring in .machine .secondary_trusted_keys .builtin_trusted_keys; do members $ring; done | identifiers)',
  '  for id in $trusted; do echo "key-$id=true"; done',
  '  for id in $(members .platform | identifiers); do',
  '    case " $(echo $trusted) " in *" $id "*) ;; *) echo "key-$id=platform" ;; esac',
  '  done',
  '}',
  'say() { [ -z "$2" ] || echo "$1=$2"; }',
  'report() {',
  '  say secure-boot "$(secure_boot)"',
  '  level=$(lockdown) enforce=$(sig_enforce)',
  '  say lockdown "$level"',
  '  say sig-enforce "$enforce"',
  // Without a word of the kernel, nothing is said: in doubt a node is not selected.
  '  case $enforce/$level in',
  '    true/* | */integrity | */confidentiality) say signature-required true ;;',
  '    false/none) say signature-required false ;;',
  '  esac',
  `  keys | sort -u | head -n ${maxKeys}`,
  '}',
];

const features = `${trustDirectories.features}/kmm-trust`;

function publish(publisher: 'labels' | 'nfd'): string[] {
  if (publisher === 'labels') return ['publish() { :; }', 'retract() { :; }'];
  const labels = `sed -e "s,^key-,${keyPrefix}," -e t -e "s,^,${trustPrefix}," ${trustDirectories.state}/report`;
  return [
    // Renamed into place: NFD may read at any moment. It ignores names that begin with a dot.
    `publish() { ${labels} >${trustDirectories.features}/.kmm-trust && mv ${trustDirectories.features}/.kmm-trust ${features}; }`,
    `retract() { rm -f ${features}; }`,
  ];
}

/** Returns the script of the init container: reports once, in its last words. */
export function reportScript(publisher: 'labels' | 'nfd'): string {
  return [
    ...facts,
    ...publish(publisher),
    `report >${trustDirectories.state}/report`,
    `cat ${trustDirectories.state}/report >/dev/termination-log`,
    'publish',
  ].join('\n');
}

/**
 * Returns the script of the container: waits, and ends with a new report as soon as the facts have changed, after
 * which Kubernetes starts it again.
 */
export function watchScript(publisher: 'labels' | 'nfd'): string {
  return [
    ...facts,
    ...publish(publisher),
    'trap "retract; exit 0" TERM INT',
    'while :; do',
    `  sleep ${interval} &`,
    '  wait $!',
    `  report >${trustDirectories.state}/new`,
    `  cmp -s ${trustDirectories.state}/new ${trustDirectories.state}/report && continue`,
    `  mv ${trustDirectories.state}/new ${trustDirectories.state}/report`,
    '  publish',
    `  cat ${trustDirectories.state}/report >/dev/termination-log`,
    '  exit 0',
    'done',
  ].join('\n');
}
