import { Gauge, type Registry } from 'prom-client';
import type { Module } from '../../api/module/module.ts';
import type { CachedModule } from '../observe/cluster/caches.ts';

/** The sources of KMM's gauges. */
export interface KmmMetricsSources {
  modules(): readonly CachedModule[];
  /** Returns the number of PreflightValidations. */
  preflights(): number;
}

/** Registers KMM's gauges. They are computed when they are read. */
export function registerKmmMetrics(registry: Registry, sources: KmmMetricsSources): void {
  const count = (name: string, help: string, value: () => number) =>
    registerGauge(registry, name, help, value);
  const countModules = (matches: (module: Module) => boolean): number =>
    parsed(sources).filter(matches).length;
  count('kmm_module_num', 'Number of Modules.', () => sources.modules().length);
  count('kmm_module_degraded_num', 'Number of degraded Modules.', () =>
    countModules(({ status }) =>
      (status?.conditions ?? []).some((one) => one.type === 'Degraded' && one.status === 'True'),
    ),
  );
  count('kmm_in_cluster_build_num', 'Number of Modules with a build section.', () =>
    countModules(has('build')),
  );
  count('kmm_in_cluster_sign_num', 'Number of Modules with a sign section.', () => countModules(has('sign')));
  count('kmm_device_plugin_num', 'Number of Modules with a device plugin.', () =>
    countModules(({ spec }) => spec.devicePlugin !== undefined),
  );
  count('kmm_dra_num', 'Number of Modules with a driver for dynamic resource allocation.', () =>
    countModules(({ spec }) => spec.dra !== undefined),
  );
  count('kmm_preflight_num', 'Number of PreflightValidations.', () => sources.preflights());
  registerArguments([registry], sources);
}

/** Registers a gauge whose value is computed when it is read. */
export function registerGauge(registry: Registry, name: string, help: string, value: () => number): void {
  void new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(value());
    },
  });
}

/** Returns whether a Module has a section, for all kernels or for some. */
function has(section: 'build' | 'sign'): (module: Module) => boolean {
  return ({ spec }) => {
    const container = spec.moduleLoader?.container;
    return [container, ...(container?.kernelMappings ?? [])].some((level) => level?.[section] !== undefined);
  };
}

/** Registers gauges with one series, of value 1, for each Module with such arguments. */
function registerArguments(registers: Registry[], sources: KmmMetricsSources): void {
  void new Gauge({
    name: 'kmm_modprobe_args',
    help: 'Options of modprobe that replace the defaults.',
    labelNames: ['name', 'namespace', 'modprobeArgs'] as const,
    registers,
    collect() {
      this.reset();
      for (const { metadata, spec } of parsed(sources)) {
        const load = spec.moduleLoader?.container.modprobe.args?.load;
        if (load !== undefined) this.set({ ...named(metadata), modprobeArgs: load.join(',') }, 1);
      }
    },
  });
  void new Gauge({
    name: 'kmm_modprobe_raw_args',
    help: 'All arguments of modprobe, if set in the Module.',
    labelNames: ['name', 'namespace', 'modprobeRawArgs'] as const,
    registers,
    collect() {
      this.reset();
      for (const { metadata, spec } of parsed(sources)) {
        const load = spec.moduleLoader?.container.modprobe.rawArgs?.load;
        if (load !== undefined) this.set({ ...named(metadata), modprobeRawArgs: load.join(',') }, 1);
      }
    },
  });
}

function parsed(sources: KmmMetricsSources): Module[] {
  return sources.modules().flatMap(({ module }) => (module === undefined ? [] : [module]));
}

function named({ name, namespace = '' }: Module['metadata']): { name: string; namespace: string } {
  return { name, namespace };
}
