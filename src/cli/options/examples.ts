/** Example command lines at the end of each command's help text, by the command's path. */
export const examples: Readonly<Record<string, readonly string[]>> = {
  sign: [
    'kmm-sign sign registry.example/vendor/driver:1.0 registry.example/ours/driver:1.0 --key signing_key.key --cert signing_key.pem',
    "kmm-sign sign oci:vendor:1.0 oci:ours:1.0 --key env://KEY --cert env://CERT --file '/opt/lib/modules/*/*.ko'",
    'kmm-sign sign --batch images.txt --key signing_key.key --cert signing_key.pem --format json',
  ],
  verify: [
    'kmm-sign verify registry.example/ours/driver:1.0 --cert signing_key.pem',
    'kmm-sign verify oci:ours:1.0 --cert old.pem --cert new.pem --format json',
  ],
  inspect: [
    'kmm-sign inspect registry.example/vendor/driver:1.0',
    'kmm-sign inspect registry.example/vendor/driver:1.0 --platform linux/arm64 --format json',
  ],
  resolve: [
    'kmm-sign resolve registry.example/vendor/driver:1.0 --full-reference',
    'kmm-sign resolve registry.example/vendor/driver:1.0 --platform linux/arm64',
  ],
  exists: [
    'kmm-sign exists registry.example/ours/driver:1.0',
    'kmm-sign exists registry.example/ours/driver:1.0 --username robot --password-file password',
  ],
  extract: [
    'kmm-sign extract registry.example/vendor/driver:1.0 -o modules',
    "kmm-sign extract oci:vendor:1.0 -o modules --file '/opt/lib/modules/*/*.ko'",
  ],
  'sign-file': [
    'kmm-sign sign-file --key signing_key.key --cert signing_key.pem driver.ko other.ko.xz',
    'kmm-sign sign-file sha512 signing_key.key signing_key.pem driver.ko',
  ],
  keygen: [
    'kmm-sign keygen -o keys --common-name "Our modules"',
    'kmm-sign keygen -o keys --bits 2048 --passphrase-file passphrase',
  ],
  registry: [
    'kmm-sign registry --root images',
    'kmm-sign registry --root images --listen 0.0.0.0:5000 --tls-cert-file tls.crt --tls-key-file tls.key',
  ],
  demo: ['kmm-sign demo', 'kmm-sign demo --keep demo'],
  compat: ['kmm-sign compat signimage --help'],
  'compat signimage': [
    'kmm-sign compat signimage -unsignedimage registry.example/driver:1.0 -signedimage registry.example/driver:1.0-signed -key signing_key.key -cert signing_key.pem',
  ],
  completion: ['source <(kmm-sign completion bash)', 'kmm-sign completion zsh > ~/.zfunc/_kmm-sign'],
  env: ['kmm-sign env', 'kmm-sign env --format json'],
  version: ['kmm-sign version', 'kmm-sign version --format json'],
};

/** Example command lines at the end of the program's own help text. */
export const rootExamples: readonly string[] = [
  'kmm-sign demo',
  ...(examples['sign'] ?? []).slice(0, 1),
  ...(examples['verify'] ?? []).slice(0, 1),
];

/** Formats the examples at the end of a help text. */
export function examplesHelp(lines: readonly string[]): string {
  return ['', lines.length === 1 ? 'Example:' : 'Examples:', ...lines.map((line) => `  ${line}`)].join('\n');
}
