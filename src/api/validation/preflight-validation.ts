import type { Findings } from '../schema/violation.ts';

/** Checks the kernel of a PreflightValidation, with the rule of KMM's webhook. Undefined: another field says which. */
export function checkPreflightKernel(kernelVersion: string | undefined): Findings {
  const isComplete = kernelVersion === undefined || kernelVersion.split(/[.,-]/).length >= 3;
  return {
    errors: isComplete
      ? []
      : [
          {
            path: 'spec.kernelVersion',
            message: `${JSON.stringify(kernelVersion)} is not a kernel version: it needs three parts, as 6.1.0 has`,
          },
        ],
    warnings: [],
  };
}
