import type { V1OwnerReference } from '@kubernetes/client-node';
import type { LoaderConfiguration } from '../../configuration/configuration.ts';

/** The operator's configuration of module loaders. */
export type LoaderSettings = LoaderConfiguration;

/** The operator's namespace and its accounts, which may run privileged pods there. */
export interface OperatorAccounts {
  readonly namespace: string;
  readonly moduleLoaderServiceAccount: string;
  readonly devicePluginServiceAccount: string;
}

/** What DaemonSets depend on besides the Module. */
export interface DaemonSetContext {
  readonly operator: OperatorAccounts;
  readonly loader: LoaderSettings;
  readonly owner: V1OwnerReference;
}

/**
 * Returns the account of a DaemonSet's pods: the one that the Module names; else, in the operator's
 * namespace, the operator's; else undefined, for the namespace's default.
 */
export function serviceAccountOf(
  named: string | undefined,
  namespace: string,
  operator: { readonly namespace: string; readonly account: string },
): string | undefined {
  if (named !== undefined && named !== '') return named;
  return namespace === operator.namespace ? operator.account : undefined;
}
