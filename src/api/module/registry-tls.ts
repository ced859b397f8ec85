import * as z from 'zod';

/** How to connect to a registry. */
export const registryTls = z.object({
  insecure: z.boolean().optional().describe('Allow plain HTTP. Avoid it.'),
  insecureSkipTLSVerify: z.boolean().optional().describe('Accept any certificate. Avoid it.'),
});

/** How to connect to a registry. */
export type RegistryTls = z.output<typeof registryTls>;
