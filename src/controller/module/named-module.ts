import type { Module } from '../../api/module/module.ts';
import type { ModuleName } from '../../builder/labels.ts';

/** A Module from the API server: namespace, UID and resource version are there. */
export type NamedModule = Module & {
  readonly metadata: Module['metadata'] & {
    readonly namespace: string;
    readonly uid: string;
    readonly resourceVersion: string;
  };
};

/** What names a Module in labels and templates. */
export function moduleNameOf({ metadata }: NamedModule): ModuleName {
  return { namespace: metadata.namespace, name: metadata.name };
}
