import type {
  V1Affinity,
  V1DeviceClassConfiguration,
  V1DeviceSelector,
  V1EnvVar,
  V1LocalObjectReference,
  V1Probe,
  V1ResourceRequirements,
  V1Toleration,
  V1Volume,
  V1VolumeMount,
} from '@kubernetes/client-node';
import * as z from 'zod';

/**
 * A part of Kubernetes' own API inside our resources. Only the fields that we read are checked here; the rest
 * is kept unchanged, so that fields of any Kubernetes version work, and is checked by the API server where it
 * is used.
 */
function kubernetes<T>(shape: z.ZodRawShape): z.ZodType<T> {
  return z.looseObject(shape) as unknown as z.ZodType<T>;
}

const quantity = z.union([z.int(), z.string()]).meta({ 'x-kubernetes-int-or-string': true });

/** The name of a Secret or ConfigMap in the same namespace. */
export const localObjectReference: z.ZodType<V1LocalObjectReference> = z.object({
  name: z.string().describe('Name of the object, in the namespace of the work that uses it.'),
});

/** Required labels, by equality. */
export const labelMap = z.record(z.string(), z.string());

/** A container's environment variable. */
export const envVar = kubernetes<V1EnvVar>({ name: z.string(), value: z.string().optional() });

/** A container's volume mount. */
export const volumeMount = kubernetes<V1VolumeMount>({ name: z.string(), mountPath: z.string() });

/** A pod's volume. */
export const volume = kubernetes<V1Volume>({
  name: z.string(),
  hostPath: z.looseObject({ path: z.string() }).optional(),
});

/** What the kubelet asks a container, to start or to restart it. */
export const probe = kubernetes<V1Probe>({});

/** A container's requests and limits. */
export const resourceRequirements = kubernetes<V1ResourceRequirements>({
  limits: z.record(z.string(), quantity).optional(),
  requests: z.record(z.string(), quantity).optional(),
});

/** What a device must be to be of a DeviceClass. */
export const deviceSelector = kubernetes<V1DeviceSelector>({
  cel: z.looseObject({ expression: z.string() }).optional(),
});

/** What a DeviceClass tells a driver. */
export const deviceClassConfiguration = kubernetes<V1DeviceClassConfiguration>({
  opaque: z.looseObject({ driver: z.string() }).optional(),
});

/** A taint that pods tolerate. */
export const toleration: z.ZodType<V1Toleration> = z.object({
  key: z.string().exactOptional(),
  operator: z.string().exactOptional(),
  value: z.string().exactOptional(),
  effect: z.string().exactOptional(),
  tolerationSeconds: z.int().exactOptional(),
});

/** A pod's affinities. */
export const affinity = kubernetes<V1Affinity>({});

/** A condition in the form of metav1.Condition. */
export const condition = z.object({
  type: z.string().describe('Ready, Progressing, Degraded, or a condition that names one problem.'),
  status: z.enum(['True', 'False', 'Unknown']),
  reason: z.string().describe('CamelCase reason, for programs.'),
  message: z.string().describe('Human-readable message.'),
  lastTransitionTime: z.string().meta({ format: 'date-time' }),
  observedGeneration: z.int().optional(),
});

/** The conditions of a resource. */
export const conditions = z
  .array(condition)
  .meta({ 'x-kubernetes-list-type': 'map', 'x-kubernetes-list-map-keys': ['type'] });
