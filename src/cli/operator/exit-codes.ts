/** What the exit status of kmm-operator says. */
export const operatorExitCodes = { stopped: 0, failed: 1, usage: 2 } as const;

export type OperatorExitCode = (typeof operatorExitCodes)[keyof typeof operatorExitCodes];

/** One line for every exit code, as the help text shows them. */
export const operatorExitCodeMeanings: Readonly<Record<keyof typeof operatorExitCodes, string>> = {
  stopped: 'stopped by a signal, gracefully',
  failed: 'failed: leadership lost, a port taken, a second signal, or a defect',
  usage: 'usage: a flag, the configuration, the environment or the kubeconfig is wrong',
};
