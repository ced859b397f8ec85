import { createHash } from 'node:crypto';
import { LruMap } from '../../shared/lru.ts';
import { performance } from 'node:perf_hooks';
import * as z from 'zod';
import type { Logger } from '../../shared/logger.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import type { ReadCheck } from '../runtime/operator-server.ts';

const tokenReview = z.looseObject({
  status: z.looseObject({
    authenticated: z.boolean().optional(),
    user: z
      .looseObject({
        username: z.string().optional(),
        uid: z.string().optional(),
        groups: z.array(z.string()).optional(),
        extra: z.record(z.string(), z.array(z.string())).optional(),
      })
      .optional(),
  }),
});
const accessReview = z.looseObject({ status: z.looseObject({ allowed: z.boolean() }) });

type User = NonNullable<z.output<typeof tokenReview>['status']['user']>;

/** Milliseconds for which a response of the API server is cached. */
const resultTtl = 10_000;
/** The most readers in the cache; the least recently used are evicted first. */
const maxReaders = 100;
/** The most readers checked concurrently; further ones are rejected. */
const maxConcurrentReviews = 20;
/** The longest accepted token, in characters: real ones have a few kilobytes at most. */
const maxTokenLength = 16 * 1024;

/**
 * Creates a check that lets clients read metrics if the cluster's RBAC allows them to `get` the path
 * /metrics. Results are cached briefly, by a hash of the token. Without a response, nobody is allowed.
 */
export function createMetricsAccess(client: ApiClient, log: Logger): ReadCheck {
  const cache = new LruMap<{ readonly result: Promise<200 | 401 | 403>; readonly since: number }>(maxReaders);
  let reviews = 0;

  async function review(token: string): Promise<200 | 401 | 403> {
    const user = await authenticate(client, token);
    if (user === undefined) return 401;
    return (await isAllowed(client, user)) ? 200 : 403;
  }

  return async (authorization) => {
    const [, token] = /^Bearer +([^\s]+)$/i.exec(authorization ?? '') ?? [];
    if (token === undefined || token.length > maxTokenLength) return 401;
    const id = createHash('sha256').update(token).digest('hex');
    const cached = cache.get(id);
    if (cached !== undefined && performance.now() - cached.since < resultTtl) return cached.result;
    if (reviews >= maxConcurrentReviews) return 401;
    reviews += 1;
    const result = review(token)
      .catch((error: unknown) => {
        log.warn('metrics reader could not be checked', { error });
        cache.delete(id);
        return 401 as const;
      })
      .finally(() => {
        reviews -= 1;
      });
    cache.set(id, { result, since: performance.now() });
    return result;
  };
}

async function authenticate(client: ApiClient, token: string): Promise<User | undefined> {
  const review = await client.request({
    method: 'POST',
    path: '/apis/authentication.k8s.io/v1/tokenreviews',
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } },
  });
  const { authenticated, user } = tokenReview.parse(review).status;
  return authenticated === true ? user : undefined;
}

async function isAllowed(client: ApiClient, user: User): Promise<boolean> {
  const { username, uid, groups, extra } = user;
  const review = await client.request({
    method: 'POST',
    path: '/apis/authorization.k8s.io/v1/subjectaccessreviews',
    body: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: { user: username, uid, groups, extra, nonResourceAttributes: { path: '/metrics', verb: 'get' } },
    },
  });
  return accessReview.parse(review).status.allowed;
}
