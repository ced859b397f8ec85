import * as z from 'zod';
import { isDnsSubdomain } from '../../api/validation/patterns.ts';

/** The address that a server listens on. */
export interface BindAddress {
  /** Undefined: all addresses. */
  readonly host: string | undefined;
  /** 0: any free one. */
  readonly port: number;
}

const expectedAddress = 'expected an address such as :8081 or 127.0.0.1:8081, or 0 for none';
const expectedName = 'expected the name of an object: lower case letters, digits, - and .';
const expectedDuration = 'expected a duration such as 30s, 10m or 1h30m';

const maxPort = 65_535;
/** The longest delay of Node's timers, between 24 and 25 days. Milliseconds. */
const longestTimer = 2 ** 31 - 1;
const millisecondsPerUnit: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** The name of an object of most kinds. */
export const objectName = z.string({ error: expectedName }).refine(isDnsSubdomain, { error: expectedName });

/** The number of a group. Linux has more, Kubernetes does not. */
export const group = z
  .int()
  .min(0)
  .max(2 ** 31 - 1);

/** A TCP port. */
export const port = z.int().min(1).max(maxPort);

/** `:8081`, `0.0.0.0:8443` or `[::1]:8443`; `0` turns the server off and becomes null. */
export const bindAddress = z
  .union([z.string(), z.literal(0)], { error: expectedAddress })
  .transform((value, context): BindAddress | null => {
    if (String(value) === '0') return null;
    const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:]*)):(\d{1,5})$/.exec(String(value)) ?? [];
    const number = Number(digits);
    if (digits !== undefined && number <= maxPort) {
      const host = bracketed ?? plain;
      return { host: host === '' ? undefined : host, port: number };
    }
    return invalid(context, expectedAddress);
  });

/** A Go duration, such as `1h30m`, in milliseconds. */
export const duration = z
  .union([z.string(), z.literal(0)], { error: expectedDuration })
  .transform((value, context): number => {
    const text = String(value);
    if (text === '0') return 0;
    if (!/^(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|ms|s|m|h))+$/.test(text)) {
      return invalid(context, expectedDuration);
    }
    let total = 0;
    for (const [, amount, unit] of text.matchAll(/([\d.]+)(ns|us|µs|ms|s|m|h)/g)) {
      total += Number(amount) * (millisecondsPerUnit[unit ?? ''] ?? Number.NaN);
    }
    return total <= longestTimer ? Math.round(total) : invalid(context, 'must be less than 24 days');
  });

/** A duration that is not zero. */
export const positiveDuration = duration.refine((milliseconds) => milliseconds > 0, {
  error: 'must be more than zero',
});

function invalid(context: { addIssue(message: string): void }, message: string): never {
  context.addIssue(message);
  return z.NEVER;
}
