import type { RequestOptions } from 'node:https';
import { performance } from 'node:perf_hooks';
import type { KubeConfig } from '@kubernetes/client-node';
import { abortable } from '../../../shared/abortable.ts';
import { ApiError } from './errors.ts';

/** Milliseconds for which credentials are used again: reading and decoding their files for each request is slow. */
const lifetime = 1000;

/** Obtains what requests are authenticated with: files and tokens of a kubeconfig, or what its plugin says. */
export class Credentials {
  readonly #config: KubeConfig;
  #pending: Promise<RequestOptions> | undefined;
  #latest: { readonly options: RequestOptions; readonly until: number } | undefined;

  constructor(config: KubeConfig) {
    this.#config = config;
  }

  /**
   * Returns the credentials, obtained within the last second. A plugin that has not ended is waited for by all
   * requests: no other is started beside it.
   * @param timeout milliseconds
   * @throws ApiError TIMEOUT, the reason of the signal, what the plugin says
   */
  async get(timeout: number, signal: AbortSignal | undefined): Promise<RequestOptions> {
    if (this.#latest !== undefined && performance.now() < this.#latest.until) return this.#latest.options;
    this.#pending ??= this.#obtain().finally(() => (this.#pending = undefined));
    const limit = AbortSignal.timeout(timeout);
    const either = signal === undefined ? limit : AbortSignal.any([limit, signal]);
    try {
      return await abortable(this.#pending, either);
    } catch (error) {
      throw error === limit.reason && limit.aborted ? this.#tooSlow(timeout) : error;
    }
  }

  async #obtain(): Promise<RequestOptions> {
    const options: RequestOptions = {};
    await this.#config.applyToHTTPSOptions(options);
    this.#latest = { options, until: performance.now() + lifetime };
    return options;
  }

  #tooSlow(timeout: number): ApiError {
    const user = this.#config.getCurrentUser();
    const command = (user?.exec as { readonly command?: string } | undefined)?.command ?? 'for credentials';
    return new ApiError({
      code: 'TIMEOUT',
      message: `The kubeconfig's plugin ${command} has not ended within ${timeout / 1000} s`,
      hint: 'Find out what it waits for. If it hangs, end it: the next request starts it again.',
      facts: { user: user?.name, command },
    });
  }
}
