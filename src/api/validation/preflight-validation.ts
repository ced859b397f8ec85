import type { Findings } from '../schema/violation.ts';

/** Checks a PreflightValidation's kernel by the rule of KMM's webhook; undefined: another field gives it. */
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
