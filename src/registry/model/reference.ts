import { type Digest, isDigest } from './digest.ts';
import { RegistryError } from './errors.ts';

/** A name in a registry, in canonical form (Docker Hub's defaults filled in). */
export interface Reference {
  /** Host and port as people write them: `docker.io`, `registry.example:5000`, `[::1]:5000`. */
  readonly registry: string;
  /** `library/busybox` */
  readonly repository: string;
  readonly tag?: string;
  /** Takes precedence over a tag. */
  readonly digest?: Digest;
}

/** Docker Hub's name in references. */
export const dockerHub = 'docker.io';

/** Characters of host, port and repository together. */
const maxNameLength = 255;
/** Characters of a tag (distribution-spec, "Pulling manifests"). */
const maxTagLength = 128;
/** Characters of an invalid text that are quoted in the message. */
const maxQuotedLength = 150;

const domainLabel = /^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?$/;
const bracketedAddress = /^\[[0-9A-Fa-f:.]+\]$/;
const pathComponent = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const tagPattern = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/;
const bareHash = /^[0-9a-f]{64}$/;

/**
 * Parses an image reference according to Docker's grammar (distribution/reference), with Docker Hub's
 * defaults. Without a tag or digest, the tag is `latest`.
 * @throws RegistryError INVALID_REFERENCE that says what is wrong
 */
export function parseReference(text: string): Reference {
  const refuse = (problem: string): never => invalidReference(text, problem);
  if (text === '') refuse('it is empty');
  refuseUrl(text);
  const { name, tag, digest } = split(text);
  if (tag !== undefined) checkTag(tag, refuse);
  if (digest !== undefined && !isDigest(digest)) {
    return refuse('what follows the @ is not a digest (sha256: and 64 hexadecimal digits)');
  }
  const place = placeOf(name, refuse);
  return {
    ...place,
    ...(tag === undefined ? (digest === undefined ? { tag: 'latest' } : {}) : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/** Formats a reference so that `parseReference` can read it. */
export function formatReference({ registry, repository, tag, digest }: Reference): string {
  return `${registry}/${repository}${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
}

const usualHint = 'Write it as registry.example:5000/vendor/driver:1.0 or with @sha256:… at the end.';

/** Throws the error for text that is not a reference. @throws RegistryError INVALID_REFERENCE */
export function invalidReference(text: string, problem: string, hint: string = usualHint): never {
  throw new RegistryError({
    code: 'INVALID_REFERENCE',
    message: `${quote(text)} is not an image reference: ${problem}`,
    hint,
    facts: { reference: text.slice(0, maxQuotedLength) },
  });
}

/** Refuses text that begins like a URL. User names and passwords in it are not quoted. */
function refuseUrl(text: string): void {
  const [, scheme, rest = ''] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/is.exec(text) ?? [];
  if (scheme === undefined) return;
  const place = rest.replace(/^[^/]*@(?!sha\d+:)/, '').slice(0, maxQuotedLength);
  const plain = /^http$/i.test(scheme) ? '; a registry without TLS needs --plain-http' : '';
  invalidReference(
    `${scheme}://${place}`,
    `it begins with ${scheme}://`,
    /^https?$/i.test(scheme) ? `Write ${place}${plain}.` : usualHint,
  );
}

function quote(text: string): string {
  return JSON.stringify(text.length > maxQuotedLength ? `${text.slice(0, maxQuotedLength)}…` : text);
}

/** Splits `name[:tag][@digest]`: a colon after the last slash begins the tag, one before it a port. */
function split(text: string): { name: string; tag?: string; digest?: string } {
  const at = text.indexOf('@');
  const digest = at === -1 ? {} : { digest: text.slice(at + 1) };
  const rest = at === -1 ? text : text.slice(0, at);
  const colon = rest.indexOf(':', rest.lastIndexOf('/') + 1);
  if (colon === -1) return { name: rest, ...digest };
  return { name: rest.slice(0, colon), tag: rest.slice(colon + 1), ...digest };
}

type Refuse = (problem: string) => never;

function checkTag(tag: string, refuse: Refuse): void {
  if (tag === '') refuse('the tag after the colon is empty');
  if (tag.length > maxTagLength) refuse(`the tag is longer than ${maxTagLength} characters`);
  if (!tagPattern.test(tag)) {
    refuse(
      `the tag ${quote(tag)} may contain letters, digits, "_", "." and "-" only, and not begin with "." or "-"`,
    );
  }
}

function placeOf(name: string, refuse: Refuse): { registry: string; repository: string } {
  if (bareHash.test(name)) refuse('64 hexadecimal digits alone are an image ID, not a name');
  const slash = name.indexOf('/');
  const first = slash === -1 ? '' : name.slice(0, slash);
  const isDomain =
    slash !== -1 && (/[.:[]/.test(first) || first === 'localhost' || first !== first.toLowerCase());
  const registry = isDomain ? canonicalRegistry(first) : dockerHub;
  const path = isDomain ? name.slice(slash + 1) : name;
  if (isDomain) checkDomain(first, refuse);
  checkRepository(path, refuse);
  const repository = registry === dockerHub && !path.includes('/') ? `library/${path}` : path;
  if (registry.length + 1 + repository.length > maxNameLength) {
    refuse(`registry and repository together are longer than ${maxNameLength} characters`);
  }
  return { registry, repository };
}

function canonicalRegistry(domain: string): string {
  return domain === 'index.docker.io' ? dockerHub : domain;
}

function checkDomain(domain: string, refuse: Refuse): void {
  const [, host = '', port] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(domain) ?? [];
  if (port !== undefined && (!/^[0-9]{1,5}$/.test(port) || Number(port) > 65_535)) {
    refuse(`${quote(port)} is not a port`);
  }
  const isHost = bracketedAddress.test(host) || host.split('.').every((label) => domainLabel.test(label));
  if (!isHost) refuse(`${quote(domain)} is not a host name`);
}

function checkRepository(path: string, refuse: Refuse): void {
  if (path === '') refuse('the repository name is empty');
  for (const component of path.split('/')) {
    if (component === '') refuse('the repository name has an empty part');
    if (/[A-Z]/.test(component)) {
      refuse(`the repository name must be lower case, ${quote(component)} is not`);
    }
    if (!pathComponent.test(component)) {
      refuse(
        `${quote(component)} in the repository name may contain a-z, 0-9, and single ".", "_", "__" or "-" between them`,
      );
    }
  }
}

/** A tag, or the digest of a manifest. */
export type Selector = { readonly tag: string } | { readonly digest: Digest };
