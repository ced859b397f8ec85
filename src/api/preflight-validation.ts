import * as z from 'zod';
import { conditions } from './schema/kubernetes.ts';
import { objectMeta, parseResource, type Findings } from './schema/resource.ts';

/** Accepts both of KMM's vocabularies: the one up to 2.3, and the one since 2.4. */
const verification = {
  verificationStatus: z.enum(['True', 'False', 'Success', 'Failure', 'InProgress']),
  verificationStage: z.enum(['Image', 'Build', 'Sign', 'Requeued', 'Done']),
  statusReason: z.string().optional(),
  lastTransitionTime: z.string().meta({ format: 'date-time' }),
};

/** The status of a preflight validation. The same in v1beta1 and v1beta2: each version reads its own half. */
export const preflightStatus = z.object({
  observedGeneration: z.int().optional(),
  conditions: conditions.optional(),
  crStatuses: z
    .record(z.string(), z.object(verification))
    .optional()
    .describe('Results in the form of v1beta1: by the name of the Module.'),
  modules: z
    .array(
      z.object({
        name: z.string(),
        namespace: z.string(),
        ...verification,
        image: z.string().optional().describe('The image that the mapping selects.'),
        digest: z.string().optional().describe('Digest of the image that was verified.'),
        unsignedDigest: z.string().optional().describe('Digest of the image before it was signed.'),
        inputs: z.string().optional().describe('Hash of the build settings of that image.'),
        job: z.string().optional().describe('The current or last Job.'),
        verified: z
          .string()
          .optional()
          .describe('Hash of the verified request: the Module is verified again when it changes.'),
      }),
    )
    .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['namespace', 'name'] })
    .optional()
    .describe('Results in the form of v1beta2: one entry for each Module.'),
});

const pushBuiltImage = z
  .boolean()
  .optional()
  .describe('Push the images that are built and signed for the check, under the names in the Module.');

const version = z.string().trim().min(1);

/** Requests a check whether every Module would be ready for a kernel. */
export const preflightValidationSpec = z.object({
  kernelVersion: version.describe('The kernel to check, as printed by uname -r.'),
  pushBuiltImage,
});

/** Requests the same check for a release of OpenShift. */
export const preflightValidationOcpSpec = z
  .object({
    releaseImage: version.optional().describe('The release image whose kernel is checked.'),
    useRTKernel: z.boolean().optional().describe('Check the real-time kernel of the release.'),
    kernelVersion: version.optional().describe('The kernel to check, instead of releaseImage.'),
    dtkImage: z.string().optional().describe('The Driver Toolkit image for kernelVersion.'),
    pushBuiltImage,
  })
  .meta({
    'x-kubernetes-validations': [
      {
        rule: 'has(self.releaseImage) != has(self.kernelVersion)',
        message: 'exactly one of releaseImage and kernelVersion must be set',
      },
    ],
  })
  .refine((spec) => (spec.releaseImage === undefined) !== (spec.kernelVersion === undefined), {
    error: 'exactly one of releaseImage and kernelVersion must be set',
  });

const apiVersion = z.enum(['kmm.sigs.x-k8s.io/v1beta1', 'kmm.sigs.x-k8s.io/v1beta2']);

/** Requests a check whether every Module would be ready for a kernel. */
export const preflightValidation = z.object({
  apiVersion,
  kind: z.literal('PreflightValidation'),
  metadata: objectMeta,
  spec: preflightValidationSpec,
  // Only we write it; an unreadable status counts as absent and is rewritten.
  status: preflightStatus.optional().catch(undefined),
});

/** Requests a check whether every Module would be ready for a release of OpenShift. */
export const preflightValidationOcp = z.object({
  apiVersion,
  kind: z.literal('PreflightValidationOCP'),
  metadata: objectMeta,
  spec: preflightValidationOcpSpec,
  // Only we write it; an unreadable status counts as absent and is rewritten.
  status: preflightStatus.optional().catch(undefined),
});

/** The status of a preflight validation. */
export type PreflightStatus = z.output<typeof preflightStatus>;
/** The result for one Module. */
export type VerifiedModule = NonNullable<PreflightStatus['modules']>[number];
export type PreflightValidation = z.output<typeof preflightValidation>;
export type PreflightValidationOcp = z.output<typeof preflightValidationOcp>;

/** Parses a PreflightValidation of either version. @throws ResourceError INVALID_RESOURCE */
export function parsePreflightValidation(value: unknown): PreflightValidation {
  return parseResource(preflightValidation, 'PreflightValidation', value);
}

/** Parses a PreflightValidationOCP of either version. @throws ResourceError INVALID_RESOURCE */
export function parsePreflightValidationOcp(value: unknown): PreflightValidationOcp {
  return parseResource(preflightValidationOcp, 'PreflightValidationOCP', value);
}

/** Checks a PreflightValidation's kernel by the rule of KMM's webhook; undefined: another field names it. */
export function checkPreflightKernel(kernelVersion: string | undefined): Findings {
  const isComplete = kernelVersion === undefined || kernelVersion.split(/[.,-]/).length >= 3;
  return {
    errors: isComplete
      ? []
      : [
          {
            path: 'spec.kernelVersion',
            message: `${JSON.stringify(kernelVersion)} is not a kernel version: it needs three parts, as in 6.1.0`,
          },
        ],
    warnings: [],
  };
}
