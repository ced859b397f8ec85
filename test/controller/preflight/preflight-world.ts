import { expect, vi } from 'vitest';
import { parsePreflightValidation, type PreflightStatus } from '../../../src/api/preflight-validation.ts';
import { modules, preflightValidations } from '../../../src/controller/observe/cluster/resources.ts';
import { listAll } from '../../../src/controller/runtime/api/list.ts';
import type { ModuleWorld } from '../module/module-world.ts';

/** What the module of the fixture was made for: modinfo says so. */
export const kernel = '6.1.0-56-amd64';
export const path = `opt/lib/modules/${kernel}/hello.ko`;
export const waiting = { timeout: 20_000, interval: 50 };

export const build = { dockerfileConfigMap: { name: 'build' } };
export const sign = { keySecret: { name: 'signing' }, certSecret: { name: 'signing' } };

/** Asks preflight questions in a world. */
export interface Preflight {
  /** Applies the Module `driver` in a namespace, for one kernel only. */
  applyModule(name: string, options?: { container?: object; literal?: string }): Promise<void>;
  ask(name: string, spec: object): Promise<void>;
  status(name: string): Promise<PreflightStatus | undefined>;
  /** Waits until a validation's status fulfils a check. */
  eventually(name: string, check: (status: PreflightStatus | undefined) => void): Promise<void>;
  /** Waits for what a validation says of the Module in a namespace. */
  result(name: string, namespace: string, expected: object): Promise<void>;
  /** Deletes validations and Modules: every validation looks at every Module. */
  clear(): Promise<void>;
}

export function createPreflight(world: ModuleWorld): Preflight {
  const preflight: Preflight = {
    async applyModule(name, { container = {}, literal = kernel } = {}) {
      const spec = {
        moduleLoader: {
          container: {
            modprobe: { moduleName: 'hello', dirName: '/opt' },
            containerImage: world.image(`${name}:\${KERNEL_FULL_VERSION}`),
            registryTLS: { insecure: true },
            kernelMappings: [{ literal }],
            ...container,
          },
        },
        selector: { for: name },
      };
      await world.apply(name, spec);
    },
    async ask(name, spec) {
      await world.client.apply(
        preflightValidations,
        { metadata: { name }, spec },
        { force: true, fieldManager: 'user' },
      );
    },
    status: async (name) =>
      parsePreflightValidation(await world.client.get(preflightValidations, { name })).status,
    async eventually(name, check) {
      await vi.waitFor(async () => check(await preflight.status(name)), waiting);
    },
    async result(name, namespace, expected) {
      await preflight.eventually(name, (status) => {
        const found = status?.modules?.find((module) => module.namespace === namespace);
        expect(found).toMatchObject(expected);
      });
    },
    async clear() {
      for (const resource of [preflightValidations, modules]) {
        for (const { metadata } of await listAll(world.client, resource)) {
          await world.client.delete(resource, metadata);
        }
      }
    },
  };
  return preflight;
}

/** The condition that counts. */
export function ready(status: PreflightStatus | undefined): object | undefined {
  return status?.conditions?.find(({ type }) => type === 'Ready');
}
