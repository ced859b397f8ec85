import * as z from 'zod';
import type { Kernel } from './kernel.ts';

/** Driver Toolkit images by version of the operating system, by kernel version, or by the name of the OS image. */
export type DriverToolkitTable = ReadonlyMap<string, string>;

/** The name of the build argument that stands for the Driver Toolkit image. */
export const driverToolkitArgument = 'DTK_AUTO';

/** The version in an `osImage` such as `Red Hat Enterprise Linux CoreOS 412.86.202302211547-0 (Ootpa)`. */
const osVersionPattern = /\d+\.\d+\.\d+-\d+/;

/** Tells whether a Dockerfile asks for the Driver Toolkit. */
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

/** Reads the table from OpenShift's ImageStream `openshift/driver-toolkit`. What is not one gives an empty table. */
export function driverToolkitTable(stream: unknown): DriverToolkitTable {
  const parsed = imageStream.safeParse(stream);
  const table = new Map<string, string>();
  for (const { name, from } of parsed.data?.spec?.tags ?? []) {
    if (name !== 'latest' && from !== undefined) table.set(name, from.name);
  }
  return table;
}

/** Which node asks for a Driver Toolkit. */
export interface DriverToolkitQuery {
  readonly kernel: Kernel;
  /** `status.nodeInfo.osImage` of the nodes that run the kernel. */
  readonly osImages: readonly string[];
  readonly table: DriverToolkitTable;
}

/** The image that was found, or what an entry would have to be named. */
export type DriverToolkit =
  | { readonly found: true; readonly image: string }
  | { readonly found: false; readonly missing: readonly string[] };

/** Finds the Driver Toolkit image for the nodes that run a kernel. */
export function findDriverToolkit({ kernel, osImages, table }: DriverToolkitQuery): DriverToolkit {
  const versions = osImages.flatMap((osImage) => osVersionPattern.exec(osImage)?.[0] ?? []);
  for (const key of [...versions, kernel.release, kernel.version, ...osImages]) {
    const image = table.get(key);
    if (image !== undefined) return { found: true, image };
  }
  return { found: false, missing: [...new Set(versions.length > 0 ? versions : [kernel.release])] };
}
