import type { KernelMapping } from '../module/kernel-mapping.ts';
import type { ModuleLoaderContainer } from '../module/spec.ts';
import { compileRegularExpression } from '../schema/regular-expression.ts';
import { nonEmpty } from '../schema/resource.ts';
import type { Findings, Violation } from '../schema/violation.ts';
import { checkBuild, checkSign } from './build-and-sign.ts';

/** Checks the kernels and images of the mappings. */
export function checkKernelMappings(container: ModuleLoaderContainer, path: string): Findings {
  const errors: Violation[] = [];
  const warnings: Violation[] = [];
  const where = `${path}.kernelMappings`;
  if (container.kernelMappings.length === 0) {
    errors.push({ path: where, message: 'at least one kernel mapping is required' });
  }
  for (const [index, mapping] of container.kernelMappings.entries()) {
    const at = `${where}[${index}]`;
    errors.push(...checkExpression(mapping, index, at), ...checkInTree(container, mapping, at));
    errors.push(...checkBuild(container.build, mapping.build, `${at}.build`));
    for (const found of [checkSign(container, mapping, `${at}.sign`), checkImage(container, mapping, at)]) {
      errors.push(...found.errors);
      warnings.push(...found.warnings);
    }
  }
  return { errors, warnings };
}

function checkExpression(mapping: KernelMapping, index: number, path: string): Violation[] {
  const literal = nonEmpty(mapping.literal);
  const regexp = nonEmpty(mapping.regexp);
  if (literal !== undefined && regexp !== undefined) {
    return [
      { path, message: `regexp and literal are mutually exclusive properties at kernelMappings[${index}]` },
    ];
  }
  if (literal === undefined && regexp === undefined) {
    return [{ path, message: `regexp or literal must be set at kernelMappings[${index}]` }];
  }
  if (regexp === undefined) return [];
  const compiled = compileRegularExpression(regexp);
  if (!(compiled instanceof Error)) return [];
  return [{ path: `${path}.regexp`, message: `invalid regexp at index ${index}: ${compiled.message}` }];
}

function checkInTree(container: ModuleLoaderContainer, mapping: KernelMapping, path: string): Violation[] {
  const levels = [container, mapping];
  const one = levels.some(({ inTreeModuleToRemove }) => nonEmpty(inTreeModuleToRemove) !== undefined);
  const many = levels.some(({ inTreeModulesToRemove }) => (inTreeModulesToRemove ?? []).length > 0);
  if (!one || !many) return [];
  return [{ path, message: 'inTreeModuleToRemove and inTreeModulesToRemove are mutually exclusive' }];
}

const kernelVariable = /\$\{?KERNEL_/;

function checkImage(container: ModuleLoaderContainer, mapping: KernelMapping, path: string): Findings {
  const at = `${path}.containerImage`;
  const image = nonEmpty(mapping.containerImage) ?? nonEmpty(container.containerImage);
  if (image === undefined) {
    return { errors: [{ path: at, message: 'missing here and at the container' }], warnings: [] };
  }
  const warnings: Violation[] = [];
  if (!/[:@]/.test(image.slice(image.lastIndexOf('/') + 1))) {
    warnings.push({ path: at, message: `${image} has no tag and no digest, so the tag is latest` });
  }
  const builds = (mapping.build ?? container.build) !== undefined;
  if (nonEmpty(mapping.regexp) !== undefined && builds && !kernelVariable.test(image)) {
    warnings.push({
      path: at,
      message: `${image} is the same for every kernel that matches; put \${KERNEL_FULL_VERSION} into it`,
    });
  }
  return { errors: [], warnings };
}
