import * as z from 'zod';
import type { Kernel } from './kernel.ts';

/** Driver Toolkit images by OS version, by kernel version, or by the name of the OS image. */
export type DriverToolkitTable = ReadonlyMap<string, string>;

/** Name of the build argument that stands for the Driver Toolkit image. */
export const driverToolkitArgument = 'DTK_AUTO';

/** The version in an `osImage` such as `Red Hat Enterprise Linux CoreOS 412.86.202302211547-0 (Ootpa)`. */
const osVersionPattern = /\d+\.\d+\.\d+-\d+/;

/** Returns whether a Dockerfile uses the Driver Toolkit. */
export function needsDriverToolkit(dockerfile: string): boolean {
  return dockerfile.includes(driverToolkitArgument);
}

const imageStream = z.looseObject({
  spec: z
    .looseObject({
      tags: z
        .array(z.looseObject({ name: z.string(), from: z.looseObject({ name: z.string() }).optional() }))
        .optional(),
    })
    .optional(),
});

/** Reads OpenShift's ImageStream `openshift/driver-toolkit`; anything else yields an empty table. */
export function driverToolkitTable(stream: unknown): DriverToolkitTable {
  const parsed = imageStream.safeParse(stream);
  const table = new Map<string, string>();
  for (const { name, from } of parsed.data?.spec?.tags ?? []) {
    if (name !== 'latest' && from !== undefined) table.set(name, from.name);
  }
  return table;
}

/** The image that was found, or the table entries that are missing. */
export type DriverToolkit =
  | { readonly found: true; readonly image: string }
  | { readonly found: false; readonly missing: readonly string[] };

/**
 * Finds the Driver Toolkit image for the nodes that run a kernel.
 * @param osImages `status.nodeInfo.osImage` of those nodes
 */
export function findDriverToolkit(
  kernel: Kernel,
  osImages: readonly string[],
  table: DriverToolkitTable,
): DriverToolkit {
  const versions = osImages.flatMap((osImage) => osVersionPattern.exec(osImage)?.[0] ?? []);
  for (const key of [...versions, kernel.release, kernel.version, ...osImages]) {
    const image = table.get(key);
    if (image !== undefined) return { found: true, image };
  }
  return { found: false, missing: [...new Set(versions.length > 0 ? versions : [kernel.release])] };
}
