import type { Build } from '../module/build.ts';
import type { KernelMapping } from '../module/kernel-mapping.ts';
import type { ModuleLoaderContainer } from '../module/spec.ts';
import { nonEmpty } from '../schema/resource.ts';
import type { Findings, Violation } from '../schema/violation.ts';

/** Checks that the build settings of container and mapping are together complete. */
export function checkBuild(
  container: Build | undefined,
  mapping: Build | undefined,
  path: string,
): Violation[] {
  if (container === undefined && mapping === undefined) return [];
  const names = [mapping, container].map((level) => nonEmpty(level?.dockerfileConfigMap?.name));
  if (names.some((name) => name !== undefined)) return [];
  return [{ path: `${path}.dockerfileConfigMap`, message: 'missing here and at the container' }];
}

/** Checks that the sign settings of container and mapping are together complete and make sense. */
export function checkSign(container: ModuleLoaderContainer, mapping: KernelMapping, path: string): Findings {
  const levels = [mapping.sign, container.sign].filter((level) => level !== undefined);
  if (levels.length === 0) return { errors: [], warnings: [] };
  const errors: Violation[] = [];
  for (const field of ['keySecret', 'certSecret'] as const) {
    if (levels.every((level) => nonEmpty(level[field]?.name) === undefined)) {
      errors.push({ path: `${path}.${field}`, message: 'missing here and at the container' });
    }
  }
  const builds = (mapping.build ?? container.build) !== undefined;
  if (!builds && levels.every(({ unsignedImage }) => nonEmpty(unsignedImage) === undefined)) {
    errors.push({
      path: `${path}.unsignedImage`,
      message: 'no image to sign given: set unsignedImage, or build the image in the cluster',
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
