import type { X509Certificate } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { isDigest } from '../../../registry/model/digest.ts';
import { ContentsMemory } from '../../../registry/layer/contents-memory.ts';
import { readFileOfImage } from '../../../registry/image/read-file.ts';
import type { ImageRepository } from '../../../registry/image/repository.ts';
import { invalidReference, parseReference } from '../../../registry/model/reference.ts';
import { KmmError } from '../../../shared/errors.ts';
import { silentLogger, type Logger } from '../../../shared/logger.ts';
import type { ImageLocation } from '../../../signer/image/read/platform-images.ts';
import type { InspectImageOptions } from '../../../signer/inspect-image.ts';
import { certificateFingerprint } from '../../../signer/cms/certificates.ts';
import { accessKey, Clients, withPullSecretHint, type ImageAccess } from './clients.ts';
import { findModule, type FoundModule, type ModuleQuery } from './find-module.ts';
import { contentLimits, Lookups, queryLimits, type Admit, type LookupLimits } from './lookups.ts';
import { resolveImage, Resolutions, type ResolvedImage } from './resolve.ts';
import { ResultCache } from './result-cache.ts';
import { verifyModules, type Verdict } from './verdict.ts';

/** The most verdicts in the cache. */
const verdictLimit = 10_000;
/** The most bytes of a file to read, and of the layers read for it. */
const fileLimits = { maxFileSize: 16 * 1024 ** 2, maxLayerBytes: 4 * 1024 ** 3 };

/** A kind of check of an image. */
export type CheckKind = 'resolve' | 'verify' | 'find-module' | 'read-file';

/** Called after each check. The outcome is `found`, `missing`, the state of a verdict, or an error's code. */
export type CheckObserver = (kind: CheckKind, seconds: number, outcome: string) => void;

export interface ImageRegistryOptions {
  readonly log?: Logger | undefined;
  /** Authorities trusted for registries besides the system's; PEM. */
  readonly trustedCertificates?: string | undefined;
  readonly userAgent: string;
  /** Limits of queries, which take seconds. @default `queryLimits` */
  readonly queries?: Partial<LookupLimits> | undefined;
  /** Limits of reading images, which takes minutes: separate, so that large images do not hold up queries. */
  readonly contents?: ImageRegistryOptions['queries'];
  /** Milliseconds for which the digest of an image is cached. @default 10 minutes */
  readonly foundTtl?: number | undefined;
  /** Milliseconds for which it is cached that an image does not exist. @default 10 seconds */
  readonly missingTtl?: number | undefined;
  /** Milliseconds since any fixed time. @default Date.now */
  readonly now?: (() => number) | undefined;
  readonly onCheck?: CheckObserver | undefined;
}

/** An image, and how to access it. */
export interface ImageQuery {
  /** As a reference: `registry.example/vendor/driver:1.0`. */
  readonly image: string;
  readonly access: ImageAccess;
  /** The namespace that it is for: namespaces share the limits. @default none in particular */
  readonly namespace?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Content in a repository. Of `image`, only registry and repository matter. */
export interface ContentQuery extends ImageQuery {
  readonly digest: string;
}

export interface VerifyQuery extends ContentQuery {
  /** Certificates whose signatures count; at least one. */
  readonly certificates: readonly X509Certificate[];
  /** Absolute paths or globs; none: every kernel module. */
  readonly files: readonly string[];
}

export interface FindModuleQuery extends ContentQuery, ModuleQuery {
  /** @default none: no signature is trusted */
  readonly certificates?: readonly X509Certificate[] | undefined;
}

export interface ReadFileQuery extends ImageQuery {
  /** The absolute path of the file. */
  readonly path: string;
  /** GOARCH; selects an image of an index. */
  readonly architecture: string;
}

interface Check<T> {
  readonly kind: CheckKind;
  readonly query: ImageQuery;
  readonly signal: AbortSignal;
  readonly lookups: Lookups;
  readonly outcome: (result: T) => string;
  readonly work: (repository: ImageRepository, signal: AbortSignal) => Promise<T>;
}

/**
 * Looks images up in registries, and caches results for as long as they are valid. Equal concurrent lookups
 * are shared. A failing registry is an error, and never counts as a missing image.
 */
export class ImageRegistry {
  readonly #clients: Clients;
  readonly #resolutions: Resolutions;
  readonly #verdicts = new ResultCache<Verdict>(verdictLimit);
  readonly #modules = new ResultCache<FoundModule>(verdictLimit);
  readonly #layerContents = new ContentsMemory();
  readonly #queries: Lookups;
  readonly #contents: Lookups;
  readonly #closed = new AbortController();
  readonly #onCheck: CheckObserver;

  constructor(options: ImageRegistryOptions) {
    const { log = silentLogger, userAgent, trustedCertificates, queries, contents } = options;
    const { foundTtl = 600_000, missingTtl = 10_000, now = Date.now, onCheck = () => {} } = options;
    this.#clients = new Clients({
      userAgent,
      certificateAuthorities: trustedCertificates === undefined ? [] : [trustedCertificates],
      logger: log,
    });
    this.#resolutions = new Resolutions(foundTtl, missingTtl, now);
    this.#queries = new Lookups({ ...queryLimits, ...queries });
    this.#contents = new Lookups({ ...contentLimits, ...contents });
    this.#onCheck = onCheck;
  }

  /**
   * Returns what an image's name refers to; undefined only if the registry says that it does not exist.
   * @throws RegistryError
   */
  async resolve(query: ImageQuery): Promise<ResolvedImage | undefined> {
    const { image, access } = query;
    const { tag, digest } = parseReference(image);
    const selector = digest === undefined ? { tag: tag ?? 'latest' } : { digest };
    return this.#resolutions.resolve({
      image,
      caller: accessKey(access),
      admit: this.#admit(this.#queries, query),
      work: (known, flight) =>
        this.#check({
          kind: 'resolve',
          query,
          signal: flight,
          lookups: this.#queries,
          outcome: (found) => (found === undefined ? 'missing' : 'found'),
          work: (repository, signal) => resolveImage(repository, selector, known, signal),
        }),
    });
  }

  /**
   * Verifies the modules of an image, on all platforms that have some.
   * @throws RegistryError, SignerError if it cannot be read
   */
  async verify(query: VerifyQuery): Promise<Verdict> {
    const { access, certificates, files } = query;
    if (certificates.length === 0) throw new TypeError('verify needs at least one certificate');
    return this.#verdicts.get({
      key: JSON.stringify([query.digest, fingerprints(certificates), files]),
      caller: callerOf(query),
      admit: this.#admit(this.#contents, query),
      work: (flight) =>
        this.#check({
          kind: 'verify',
          query: { image: query.image, access },
          signal: flight,
          lookups: this.#contents,
          outcome: ({ state }) => state,
          work: (repository, signal) =>
            verifyModules({ ...this.#reading(repository, query, signal), certificates, files }),
        }),
    });
  }

  /**
   * Finds a kernel's module in an image, as modprobe would.
   * @throws RegistryError, SignerError if it cannot be read
   */
  async findModule(query: FindModuleQuery): Promise<FoundModule> {
    const { certificates = [], dirName, kernelRelease, moduleName, architecture } = query;
    const moduleQuery = { dirName, kernelRelease, moduleName, architecture };
    return this.#modules.get({
      key: JSON.stringify([query.digest, fingerprints(certificates), moduleQuery]),
      caller: callerOf(query),
      admit: this.#admit(this.#contents, query),
      work: (flight) =>
        this.#check({
          kind: 'find-module',
          query,
          signal: flight,
          lookups: this.#contents,
          outcome: ({ found }) => (found ? 'found' : 'missing'),
          work: (repository, signal) =>
            findModule({ ...this.#reading(repository, query, signal), certificates }, moduleQuery),
        }),
    });
  }

  /**
   * Reads a small file of an image; undefined if the image does not have it.
   * @throws RegistryError, also if the image does not exist
   */
  async readFile({ path, architecture, ...query }: ReadFileQuery): Promise<Buffer | undefined> {
    const { tag, digest } = parseReference(query.image);
    const admit = this.#admit(this.#contents, query);
    return admit((signal) =>
      this.#check({
        kind: 'read-file',
        query,
        signal,
        lookups: this.#contents,
        outcome: (content) => (content === undefined ? 'missing' : 'found'),
        work: (repository, until) =>
          readFileOfImage({
            repository,
            selector: digest === undefined ? { tag: tag ?? 'latest' } : { digest },
            platform: { os: 'linux', architecture },
            path,
            ...fileLimits,
            signal: until,
          }),
      }),
    );
  }

  /** Returns after how many milliseconds the next `resolve` queries the registry again. */
  recheckAfter({ image, access }: ImageQuery): number {
    return this.#resolutions.expiresIn(image, accessKey(access));
  }

  /** Forgets what an image's name refers to, since it may have been pushed to. */
  forget(image: string): void {
    this.#resolutions.forget(image);
  }

  /** Returns how an image is read: layers that other images have, too, are read only once. */
  #reading(
    repository: ImageRepository,
    query: ContentQuery,
    signal: AbortSignal,
  ): Pick<InspectImageOptions, 'image' | 'layerContents' | 'signal'> {
    return { image: locate(repository, query), layerContents: this.#layerContents, signal };
  }

  /** Aborts work in progress and closes all connections. */
  async close(): Promise<void> {
    this.#closed.abort();
    this.#resolutions.close();
    this.#verdicts.close();
    this.#modules.close();
    await this.#clients.close();
  }

  #admit(lookups: Lookups, { image, namespace, signal }: ImageQuery): Admit {
    const { registry } = parseReference(image);
    const signals = signal === undefined ? [] : [signal];
    return lookups.admit({ namespace, registry }, [this.#closed.signal, ...signals]);
  }

  async #check<T>({ kind, query, signal, lookups, outcome, work }: Check<T>): Promise<T> {
    const { image, access } = query;
    const reference = parseReference(image);
    signal.throwIfAborted();
    const started = performance.now();
    const end = (how: string): void => this.#onCheck(kind, (performance.now() - started) / 1000, how);
    try {
      // Later callers may join, but this does not extend the deadline.
      const result = await lookups.within(reference.registry, [signal], (until) =>
        this.#clients.with(access, (client) => work(client.repository(reference), until)),
      );
      end(outcome(result));
      return result;
    } catch (error) {
      if (!signal.aborted) end(error instanceof KmmError ? error.code : 'unknown');
      throw withPullSecretHint(error, access);
    }
  }
}

function locate(repository: ImageRepository, { image, digest }: ContentQuery): ImageLocation {
  if (!isDigest(digest)) return invalidReference(`${image}@${digest}`, 'its digest is malformed');
  return { repository, selector: { digest } };
}

function fingerprints(certificates: readonly X509Certificate[]): string[] {
  return certificates.map(certificateFingerprint).toSorted();
}

function callerOf({ image, access }: ImageQuery): string {
  const { registry, repository } = parseReference(image);
  return JSON.stringify([registry, repository, accessKey(access)]);
}
