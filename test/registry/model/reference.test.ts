import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RegistryError } from '../../../src/registry/model/errors.ts';
import { parseImageLocation } from '../../../src/registry/open-repository.ts';
import { formatReference, parseReference, type Reference } from '../../../src/registry/model/reference.ts';

const hex = 'a3'.repeat(32);

/** The reference in a text, or the error. */
function attempt(text: string): unknown {
  try {
    return parseReference(text);
  } catch (error) {
    return error;
  }
}

/** What is accepted is accepted again in canonical form; what is refused is refused with RegistryError. */
function isStableOrRefused(outcome: unknown): boolean {
  if (outcome instanceof Error) return outcome instanceof RegistryError;
  const reference = outcome as Reference;
  return isDeepStrictEqual(parseReference(formatReference(reference)), reference);
}

describe('parseReference', () => {
  // The canonical forms are those that docker prints.
  it.each([
    ['busybox', 'docker.io/library/busybox:latest'],
    ['busybox:1.36', 'docker.io/library/busybox:1.36'],
    ['vendor/driver', 'docker.io/vendor/driver:latest'],
    ['index.docker.io/busybox', 'docker.io/library/busybox:latest'],
    ['docker.io/vendor/driver:1', 'docker.io/vendor/driver:1'],
    ['localhost/driver', 'localhost/driver:latest'],
    ['localhost:5000/driver', 'localhost:5000/driver:latest'],
    ['registry.example:5000/a/b/c:1.0', 'registry.example:5000/a/b/c:1.0'],
    ['REGISTRY/driver', 'REGISTRY/driver:latest'],
    ['[::1]:5000/driver:x', '[::1]:5000/driver:x'],
    ['[fd00::7]/driver', '[fd00::7]/driver:latest'],
    [`registry.example/d@sha256:${hex}`, `registry.example/d@sha256:${hex}`],
    [`registry.example:1/d:t@sha256:${hex}`, `registry.example:1/d:t@sha256:${hex}`],
    ['busybox:5000', 'docker.io/library/busybox:5000'],
    ['a__b/c-----d.e_f', 'docker.io/a__b/c-----d.e_f:latest'],
  ])('reads %s as %s', (text, canonical) => {
    expect(formatReference(parseReference(text))).toBe(canonical);
  });

  it.each([
    ['', 'it is empty'],
    ['Driver', 'must be lower case'],
    ['registry.example/Vendor/driver', 'must be lower case'],
    ['driver:', 'the tag after the colon is empty'],
    ['driver:-x', 'the tag "-x"'],
    [`driver:${'x'.repeat(129)}`, 'longer than 128'],
    ['driver@sha256:abc', 'is not a digest'],
    ['driver@', 'is not a digest'],
    ['registry.example/', 'the repository name is empty'],
    ['registry.example//x', 'has an empty part'],
    ['a/b/', 'has an empty part'],
    ['a.b..c/x', 'is not a host name'],
    ['-a.example/x', 'is not a host name'],
    ['registry.example:port/x', 'is not a port'],
    ['registry.example:70000/x', 'is not a port'],
    ['[::1/x', 'is not a port'],
    ['[::zz]/x', 'is not a host name'],
    ['a..b', '"a..b" in the repository name'],
    ['a___b', '"a___b" in the repository name'],
    ['a b', '"a b" in the repository name'],
    [hex, 'image ID'],
    [`registry.example/${'a/'.repeat(130)}a`, 'longer than 255'],
  ])('refuses %j: %s', (text, problem) => {
    expect(() => parseReference(text)).toThrow(problem);
  });

  it.each([
    ['https://registry.example/vendor/driver:1.0', 'Write registry.example/vendor/driver:1.0.'],
    ['HTTPS://registry.example/d', 'Write registry.example/d.'],
    [
      'http://127.0.0.1:5000/driver',
      'Write 127.0.0.1:5000/driver; a registry without TLS needs --plain-http.',
    ],
    ['ftp://registry.example/driver', expect.stringContaining('registry.example:5000/vendor/driver:1.0')],
  ])('refuses the URL %s and says what to write', (text, hint) => {
    expect(attempt(text)).toMatchObject({ code: 'INVALID_REFERENCE', hint });
  });

  it('repeats no password of a URL', () => {
    const refused = attempt('https://alice:wonderland@registry.example/driver:1.0');
    expect(JSON.stringify(refused)).not.toContain('wonderland');
    expect(refused).toMatchObject({ hint: 'Write registry.example/driver:1.0.' });
  });

  it('does not repeat an endless text in its message', () => {
    expect(() => parseReference('A'.repeat(100_000))).toThrow(/^[^]{1,600}$/);
  });

  const component = fc.stringMatching(/^[a-z0-9]{1,6}((\.|_|__|-{1,2})[a-z0-9]{1,6}){0,2}$/);
  const host = fc.constantFrom(
    'localhost',
    'r.example',
    'R.example:5000',
    '127.0.0.1:1',
    '[::1]',
    '[fe80::1]:65535',
  );
  const reference = fc.record(
    {
      registry: host,
      repository: fc.array(component, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/')),
      tag: fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/),
      digest: fc.stringMatching(/^[0-9a-f]{64}$/).map((digits) => `sha256:${digits}`),
    },
    { requiredKeys: ['registry', 'repository', 'tag'] },
  );

  it('parses every reference that it formatted', () => {
    fc.assert(
      fc.property(reference, (parts) => {
        const text = `${parts.registry}/${parts.repository}:${parts.tag}${parts.digest === undefined ? '' : `@${parts.digest}`}`;
        const parsed = parseReference(text);
        expect(parsed).toEqual(parts);
        expect(formatReference(parsed)).toBe(text);
      }),
    );
  });

  it('throws nothing but RegistryError, and what it accepts it accepts again in canonical form', () => {
    const nasty = fc.string({
      unit: fc.constantFrom('a', 'B', '1', '.', '/', ':', '@', '[', ']', '-', '_', ' ', '\0', 'é'),
      maxLength: 40,
    });
    fc.assert(
      fc.property(fc.oneof(nasty, fc.string()), (text) => {
        expect(attempt(text)).toSatisfy(isStableOrRefused);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('parseImageLocation', () => {
  it.each([
    ['oci:/srv/image', { kind: 'layout', directory: '/srv/image' }],
    ['oci:image:1.0', { kind: 'layout', directory: 'image', tag: '1.0' }],
    [
      'oci:image:registry.example/driver:1.0',
      { kind: 'layout', directory: 'image', tag: 'registry.example/driver:1.0' },
    ],
    [`oci:./image@sha256:${hex}`, { kind: 'layout', directory: './image', digest: `sha256:${hex}` }],
    [
      `oci:image:1.0@sha256:${hex}`,
      { kind: 'layout', directory: 'image', tag: '1.0', digest: `sha256:${hex}` },
    ],
  ])('reads %s', (text, location) => {
    expect(parseImageLocation(text)).toEqual(location);
  });

  it.each([
    ['oci:', 'directory after "oci:" is empty'],
    ['oci::tag', 'directory after "oci:" is empty'],
    ['oci:dir:', 'tag after the colon is empty'],
    ['oci:dir:a b', '"a b" is not a tag'],
    ['oci:dir@sha256:12', 'is not a digest'],
  ])('refuses %s', (text, problem) => {
    expect(() => parseImageLocation(text)).toThrow(problem);
  });

  it('reads everything else as a reference', () => {
    expect(parseImageLocation('r.example/d:1')).toEqual({
      kind: 'registry',
      reference: parseReference('r.example/d:1'),
    });
  });

  it('reads docker:// as skopeo does', () => {
    expect(parseImageLocation('docker://r.example/d:1')).toEqual(parseImageLocation('r.example/d:1'));
    expect(parseImageLocation('docker://busybox')).toEqual(parseImageLocation('busybox'));
  });

  // What `skopeo --help` and containers-transports(5) list; docker: and oci: are read.
  it.each([
    'containers-storage:registry.example/driver:1.0',
    'dir:/srv/image',
    'dir:image',
    'docker-archive:driver.tar',
    'docker-archive:/srv/driver.tar:driver:1.0',
    'docker-daemon:driver:1.0',
    'oci-archive:driver.tar',
    'ostree:driver',
    'sif:driver.sif',
    'tarball:driver.tar',
  ])('refuses %s by its name, which is no repository of Docker Hub', (text) => {
    const transport = text.slice(0, text.indexOf(':'));
    expect(() => parseImageLocation(text)).toThrow(`${transport}: names`);
  });

  it.each([
    ['oci://registry.example/driver:1.0', 'Write registry.example/driver:1.0 for an image in a registry'],
    ['oci:///srv/image:1.0', 'Write oci:/srv/image:1.0 for the OCI layout.'],
  ])('refuses %s, which may mean either, and says what to write', (text, hint) => {
    expect(() => parseImageLocation(text)).toThrow(
      expect.objectContaining({ code: 'INVALID_REFERENCE', hint: expect.stringContaining(hint) }),
    );
  });

  it('takes repositories whose names only resemble those of transports', () => {
    for (const text of [
      'docker:24-dind',
      'registry.example/dir:1',
      'registry:2',
      'docker.io/library/dir:1',
    ]) {
      expect(parseImageLocation(text)).toMatchObject({ kind: 'registry' });
    }
  });
});
