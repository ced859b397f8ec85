import { type LogLevel, logLevels } from '../../shared/logger.ts';
import type { WebhookName } from '../../controller/webhook/webhooks.ts';
import { examplesHelp } from '../options/examples.ts';
import { parseGoFlags } from '../options/go-flags.ts';
import { usageError } from '../output/usage-error.ts';

/** The exit codes of kmm-operator. */
export const operatorExitCodes = { stopped: 0, failed: 1, usage: 2 } as const;

export type OperatorExitCode = (typeof operatorExitCodes)[keyof typeof operatorExitCodes];

/** One line per exit code, as shown in the help text. */
export const operatorExitCodeMeanings: Readonly<Record<keyof typeof operatorExitCodes, string>> = {
  stopped: 'stopped by a signal, gracefully',
  failed: 'failed: leadership lost, a port in use, no API server to gather from, a second signal, or a bug',
  usage: 'usage: a flag, the configuration, the environment or the kubeconfig is wrong',
};

const commands = {
  run: 'the operator (default)',
  hub: 'the operator of a hub, which builds and signs for the clusters that it manages',
  nfd: 'the operator of Node Feature Discovery, for the namespace that it runs in',
  webhook: 'the validating admission webhook',
  gather: 'write what helps to understand a cluster to a directory, without secrets',
  version: 'print the version and the commit',
} as const;
export type OperatorCommand = keyof typeof commands;

const values: Readonly<Record<string, string>> = {
  config: 'path of controller_config.yaml; if omitted or not found, defaults apply',
  kubeconfig: "how to reach the cluster; default $KUBECONFIG, else the pod's service account",
  'log-level': `${logLevels.join('|')}; default info`,
};

const webhookFlags: Readonly<Record<string, WebhookName>> = {
  'enable-module': 'module',
  'enable-managedclustermodule': 'managedclustermodule',
  'enable-namespace': 'namespace',
  'enable-preflightvalidation': 'preflightvalidation',
};

const explanations: Readonly<Record<WebhookName, string>> = {
  module: 'check Modules',
  managedclustermodule: "check ManagedClusterModules; alone, it is a hub's webhook",
  namespace: 'keep namespaces with Modules in them from being deleted',
  preflightvalidation: 'check PreflightValidations, those of OpenShift too',
};

const gatherValues: Readonly<Record<string, string>> = {
  output: 'directory to write to, also -o; default must-gather',
  namespace: "the operator's namespace, also -n; default wherever its Deployment is",
};
const gatherBooleans: Readonly<Record<string, string>> = {
  hub: "gather what belongs to a hub's operator, also -u",
  'anonymize-hosts': 'replace the names and addresses of nodes and of the API server',
};

const versionBooleans: Readonly<Record<string, string>> = {
  json: 'print JSON, with the versions of Node and OpenSSL',
};

const inConfiguration = 'It is set in the file of --config: see docs/operator-configuration.md.';

/** Flags of operators based on controller-runtime, and what replaces them here. */
const foreignFlags: Readonly<Record<string, string>> = {
  v: 'Give --log-level debug.',
  'zap-log-level': 'Give --log-level debug.',
  'zap-devel': 'Give --log-level debug.',
  'leader-elect': inConfiguration,
  'metrics-bind-address': inConfiguration,
  'health-probe-bind-address': inConfiguration,
  'webhook-port': inConfiguration,
  namespace: 'Set the environment variable OPERATOR_NAMESPACE.',
};

/** The parsed command line. */
export interface OperatorFlags {
  readonly command: OperatorCommand;
  /** Whether the command was named rather than implied. */
  readonly named: boolean;
  readonly help: boolean;
  readonly config: string | undefined;
  readonly kubeconfig: string | undefined;
  readonly logLevel: LogLevel;
  readonly webhooks: readonly WebhookName[];
  readonly gather: GatherFlags;
  /** Whether `version` prints JSON. */
  readonly json: boolean;
}

/** The flags of `gather`. */
export interface GatherFlags {
  readonly output: string;
  readonly namespace: string | undefined;
  readonly hub: boolean;
  readonly anonymizeHosts: boolean;
}

/** Parses the command line, whose flags have one dash or two, like KMM's. @throws CliError USAGE */
export function parseOperatorFlags(args: readonly string[]): OperatorFlags {
  const [first = ''] = args;
  const isFlag = first === '' || first.startsWith('-');
  const command = isFlag
    ? 'run'
    : Object.keys(commands).find((name): name is OperatorCommand => name === first);
  if (command === undefined) throw usageError(`Command ${first} is not known`, 'See kmm-operator --help.');
  const {
    values: flagValues,
    booleans,
    help,
  } = parseGoFlags(isFlag ? args : args.slice(1), {
    ...flagsOf(command),
    helpCommand: 'kmm-operator --help',
    advice: foreignFlags,
  });
  return {
    command,
    named: !isFlag,
    help,
    config: flagValues.get('config'),
    kubeconfig: flagValues.get('kubeconfig'),
    logLevel: logLevelOf(flagValues.get('log-level') ?? 'info'),
    webhooks: [...booleans].flatMap((name) => webhookFlags[name] ?? []),
    gather: {
      output: flagValues.get('o') ?? flagValues.get('output') ?? 'must-gather',
      namespace: flagValues.get('n') ?? flagValues.get('namespace'),
      hub: booleans.has('u') || booleans.has('hub'),
      anonymizeHosts: booleans.has('anonymize-hosts'),
    },
    json: booleans.has('json'),
  };
}

const booleansOf: Partial<Record<OperatorCommand, object>> = {
  webhook: webhookFlags,
  version: versionBooleans,
};

function flagsOf(command: OperatorCommand): { values: string[]; booleans: string[] } {
  if (command === 'gather') {
    return {
      values: ['kubeconfig', 'log-level', 'o', 'n', ...Object.keys(gatherValues)],
      booleans: ['u', ...Object.keys(gatherBooleans)],
    };
  }
  return { values: Object.keys(values), booleans: Object.keys(booleansOf[command] ?? {}) };
}

function logLevelOf(text: string): LogLevel {
  const level = logLevels.find((one) => one === text);
  if (level !== undefined) return level;
  throw usageError(`--log-level is one of ${logLevels.join(', ')}, not "${text}"`);
}

function lines(entries: readonly (readonly [string, string])[]): string[] {
  return entries.map(([name, text]) => `  ${name.padEnd(30)} ${text}`);
}

const examples: Readonly<Record<OperatorCommand, readonly string[]>> = {
  run: [
    'OPERATOR_NAMESPACE=kmm-operator-system kmm-operator run --config controller_config.yaml --kubeconfig ~/.kube/config',
  ],
  hub: [
    'OPERATOR_NAMESPACE=kmm-operator-hub-system kmm-operator hub --config controller_config.yaml --log-level debug',
  ],
  nfd: ['OPERATOR_NAMESPACE=openshift-nfd kmm-operator nfd --config controller_config.yaml'],
  webhook: [
    'OPERATOR_NAMESPACE=kmm-operator-system kmm-operator webhook --enable-module --enable-preflightvalidation',
  ],
  gather: [
    'kmm-operator gather --output must-gather',
    'kmm-operator gather --hub --anonymize-hosts --kubeconfig ~/.kube/hub',
    'oc adm must-gather --image=IMAGE -- /usr/bin/gather',
  ],
  version: ['kmm-operator version --json'],
};

const flagHelp: readonly string[] = [
  'Flags:',
  ...lines(Object.entries(values).map(([name, text]) => [`--${name} VALUE`, text])),
  ...lines([['--help', 'show help for the program or a command']]),
];
const webhookHelp: readonly string[] = [
  'Flags of webhook (default: all of them):',
  ...lines(Object.entries(webhookFlags).map(([name, webhook]) => [`--${name}`, explanations[webhook]])),
];

function flagLines(booleans: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(booleans).map(([name, text]) => [`--${name}`, text]);
}

const gatherHelp: readonly string[] = [
  'Flags of gather:',
  ...lines(Object.entries(gatherValues).map(([name, text]) => [`--${name} VALUE`, text])),
  ...lines(flagLines(gatherBooleans)),
];

/** Returns the text of `--help`, or of `COMMAND --help`. It ends with examples. */
export function operatorHelp(command?: OperatorCommand): string {
  const all = command === undefined;
  return [
    `Usage: kmm-operator ${command ?? '[COMMAND]'} [FLAGS]`,
    '',
    all
      ? 'Builds, signs and rolls out kernel modules on a cluster, as its Modules specify.'
      : `${command}: ${commands[command]}`,
    '',
    ...(all ? ['Commands:', ...lines(Object.entries(commands)), ''] : []),
    ...flagHelp,
    '',
    ...(all || command === 'webhook' ? [...webhookHelp, ''] : []),
    ...(all || command === 'gather' ? [...gatherHelp, ''] : []),
    ...(command === 'version' ? ['Flags of version:', ...lines(flagLines(versionBooleans)), ''] : []),
    'Environment: OPERATOR_NAMESPACE (required, except by gather and version), KMM_MANAGED, RELATED_IMAGE_SIGN, RELATED_IMAGE_BUILD, RELATED_IMAGE_LOADER,',
    'RELATED_IMAGE_NODE_FEATURE_DISCOVERY, HTTP_PROXY, HTTPS_PROXY, NO_PROXY. See docs/operator-configuration.md.',
    '',
    'Exit codes:',
    ...Object.entries(operatorExitCodes).map(
      ([name, code]) => `  ${String(code).padEnd(4)} ${meaningOf(name)}`,
    ),
    examplesHelp(all ? [...examples.run, ...examples.webhook] : examples[command]),
  ].join('\n');
}

function meaningOf(name: string): string {
  return new Map<string, string>(Object.entries(operatorExitCodeMeanings)).get(name) ?? '';
}
