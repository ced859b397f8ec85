import { isDeepStrictEqual } from 'node:util';
import { parseBootModuleConfig } from '../../api/boot-module-config.ts';
import { parseManagedClusterModule } from '../../api/managed-cluster-module.ts';
import { parseModule } from '../../api/module/module.ts';
import { findIgnoredFields } from '../../api/module/ignored-fields.ts';
import {
  parsePreflightValidation,
  parsePreflightValidationOcp,
  checkPreflightKernel,
} from '../../api/preflight-validation.ts';
import { checkBootModuleConfig } from '../../api/validation/boot-module-config.ts';
import { checkManagedClusterModule, checkModuleSpec } from '../../api/validation/module-spec.ts';
import { ResourceError, formatViolation, type Findings } from '../../api/schema/resource.ts';
import { modules } from '../observe/cluster/resources.ts';
import { builderOf } from '../module/kernel-result.ts';
import { listPages } from '../runtime/api/list.ts';
import type { BuilderName } from '../../builder/builder.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import type { AdmissionRequest, Verdict } from './admission-review.ts';

/** Validates a request. @throws the error that prevents this */
export type Validator = (request: AdmissionRequest) => Verdict | Promise<Verdict>;

/** Parses an object, and checks it against its previous state. @throws ResourceError */
type Check = (object: unknown, previous: unknown) => Findings;

const allowed: Verdict = { reasons: [], warnings: [] };

/** Checks Modules. */
export function moduleValidator(defaultBuilder: BuilderName): Validator {
  return validator((object, previous) => {
    const module = parseModule(object);
    const { metadata, spec } = module;
    const { errors, warnings } = checkModuleSpec(spec, metadata, readPrevious(parseModule, previous)?.spec);
    const ignored = findIgnoredFields(spec, builderOf(module) ?? defaultBuilder);
    return {
      errors,
      warnings: [...warnings, ...ignored.map(({ path, reason }) => ({ path, message: reason }))],
    };
  });
}

/** Checks ManagedClusterModules. */
export const managedClusterModuleValidator: Validator = validator((object, previous) =>
  checkManagedClusterModule(
    parseManagedClusterModule(object),
    readPrevious(parseManagedClusterModule, previous),
  ),
);

/** Checks PreflightValidations. */
export const preflightValidator: Validator = validator((object) =>
  checkPreflightKernel(parsePreflightValidation(object).spec.kernelVersion),
);

/** Checks PreflightValidationOCPs. */
export const preflightOcpValidator: Validator = validator((object) =>
  checkPreflightKernel(parsePreflightValidationOcp(object).spec.kernelVersion),
);

/** Checks BootModuleConfigs. */
export const bootModuleValidator: Validator = validator((object) =>
  checkBootModuleConfig(parseBootModuleConfig(object).spec),
);

/** Refuses to delete a namespace that has Modules: their finalizers would outlive what removes them. */
export function namespaceValidator(client: ApiClient): Validator {
  return async ({ operation, name }) => {
    if (operation !== 'DELETE' || name === undefined) return allowed;
    for await (const { items } of listPages(client, modules, { namespace: name, pageSize: 1 })) {
      if (items.length > 0) {
        const reason =
          'namespace contains one or more Module resources; delete those before deleting the namespace';
        return { reasons: [reason], warnings: [] };
      }
    }
    return allowed;
  };
}

function validator(check: Check): Validator {
  return ({ operation, object, oldObject }) => {
    if (operation !== 'CREATE' && operation !== 'UPDATE') return allowed;
    // An object accepted under earlier rules can still be labelled, and lose its finalizers.
    if (operation === 'UPDATE' && (isDeleting(object) || hasSameSpec(object, oldObject))) return allowed;
    try {
      const { errors, warnings } = check(object, operation === 'UPDATE' ? oldObject : undefined);
      return { reasons: errors.map(formatViolation), warnings: warnings.map(formatViolation) };
    } catch (error) {
      if (error instanceof ResourceError) return { reasons: [error.message], warnings: [] };
      throw error;
    }
  };
}

/** Parses the earlier object. Returns undefined, for no comparison, if today's rules reject it. */
function readPrevious<T>(parse: (value: unknown) => T, previous: unknown): T | undefined {
  if (previous === undefined || previous === null) return undefined;
  try {
    return parse(previous);
  } catch (error) {
    if (error instanceof ResourceError) return undefined;
    throw error;
  }
}

function isDeleting(object: unknown): boolean {
  const { deletionTimestamp } = objectField(object, 'metadata');
  return deletionTimestamp !== undefined && deletionTimestamp !== null;
}

function hasSameSpec(one: unknown, other: unknown): boolean {
  return isDeepStrictEqual(objectField(one, 'spec'), objectField(other, 'spec'));
}

function objectField(value: unknown, name: string): Readonly<Record<string, unknown>> {
  const field = isObject(value) ? value[name] : undefined;
  return isObject(field) ? field : {};
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}
