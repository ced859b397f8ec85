import type { Build } from '../module/build-and-sign.ts';
import type { KernelMapping } from '../module/kernel-mapping.ts';
import type { ModuleLoaderContainer } from '../module/spec.ts';
import { compileRegularExpression } from '../schema/regular-expression.ts';
import { nonEmpty, type Findings, type Violation } from '../schema/resource.ts';

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
    return { errors: [{ path: at, message: 'must be set here or at the container' }], warnings: [] };
  }
  const warnings: Violation[] = [];
  if (!/[:@]/.test(image.slice(image.lastIndexOf('/') + 1))) {
    warnings.push({ path: at, message: `${image} has neither tag nor digest, so latest is used` });
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

/** Checks that the build settings of container and mapping are together complete. */
function checkBuild(container: Build | undefined, mapping: Build | undefined, path: string): Violation[] {
  if (container === undefined && mapping === undefined) return [];
  const names = [mapping, container].map((level) => nonEmpty(level?.dockerfileConfigMap?.name));
  if (names.some((name) => name !== undefined)) return [];
  return [{ path: `${path}.dockerfileConfigMap`, message: 'must be set here or at the container' }];
}

/** Checks that the sign settings of container and mapping are together complete and make sense. */
function checkSign(container: ModuleLoaderContainer, mapping: KernelMapping, path: string): Findings {
  const levels = [mapping.sign, container.sign].filter((level) => level !== undefined);
  if (levels.length === 0) return { errors: [], warnings: [] };
  const errors: Violation[] = [];
  for (const field of ['keySecret', 'certSecret'] as const) {
    if (levels.every((level) => nonEmpty(level[field]?.name) === undefined)) {
      errors.push({ path: `${path}.${field}`, message: 'must be set here or at the container' });
    }
  }
  const builds = (mapping.build ?? container.build) !== undefined;
  if (!builds && levels.every(({ unsignedImage }) => nonEmpty(unsignedImage) === undefined)) {
    errors.push({
      path: `${path}.unsignedImage`,
      message: 'no image to sign: set unsignedImage, or build the image in the cluster',
    });
  }
  const files = levels.flatMap(({ filesToSign }) => filesToSign ?? []);
  const findings = checkFiles(files, container.modprobe.dirName, `${path}.filesToSign`);
  return { errors: [...errors, ...findings.errors], warnings: findings.warnings };
}

function checkFiles(files: readonly string[], dirName: string, path: string): Findings {
  const relative = files.filter((file) => !/^[/$]/.test(file));
  const outside = files.filter(
    (file) => file.startsWith('/') && !file.startsWith(`${dirName.replace(/\/+$/, '')}/`),
  );
  return {
    errors: relative.map((file) => ({ path, message: `${JSON.stringify(file)} does not begin with /` })),
    warnings: outside.map((file) => ({
      path,
      message: `${file} is outside dirName ${dirName}, where modprobe looks for modules`,
    })),
  };
}
