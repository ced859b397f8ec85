import { parseJson } from '../../shared/json.ts';
import * as z from 'zod';

const admissionRequest = z.looseObject({
  uid: z.string().min(1).max(256),
  operation: z.enum(['CREATE', 'UPDATE', 'DELETE', 'CONNECT']),
  name: z.string().optional(),
  namespace: z.string().optional(),
  object: z.unknown().optional(),
  oldObject: z.unknown().optional(),
});

const admissionReview = z.looseObject({
  apiVersion: z.literal('admission.k8s.io/v1'),
  kind: z.literal('AdmissionReview'),
  request: admissionRequest,
});

/** A request of the API server to admit an operation. */
export type AdmissionRequest = z.output<typeof admissionRequest>;

/** The verdict on a request: any reason refuses it; warnings are shown to the client. */
export interface Verdict {
  readonly reasons: readonly string[];
  readonly warnings: readonly string[];
}

/** Reads the body of a request (admission.k8s.io/v1). Returns undefined for anything else. */
export function parseAdmissionRequest(body: Buffer): AdmissionRequest | undefined {
  return admissionReview.safeParse(parseJson(body.toString('utf8'))).data?.request;
}

/** Formats the body of the response. Refusals look like those of KMM's webhook: 403, Forbidden. */
export function formatAdmissionReview({ uid }: AdmissionRequest, { reasons, warnings }: Verdict): string {
  const status = { code: 403, reason: 'Forbidden', message: reasons.join('; ') };
  return JSON.stringify({
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    response: {
      uid,
      allowed: reasons.length === 0,
      ...(reasons.length === 0 ? {} : { status }),
      ...(warnings.length === 0 ? {} : { warnings }),
    },
  });
}
