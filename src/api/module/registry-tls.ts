import * as z from 'zod';

/** How a registry may be spoken to. */
export const registryTls = z.object({
  insecure: z.boolean().optional().describe('Allow plain HTTP. Avoid it.'),
  insecureSkipTLSVerify: z.boolean().optional().describe('Accept any certificate. Avoid it.'),
});

/** How a registry may be spoken to. */
export type RegistryTls = z.output<typeof registryTls>;
