import { describe, expect, it } from 'vitest';
import { parsePreflightValidation, parsePreflightValidationOcp } from '../../src/api/preflight-validation.ts';

const metadata = { name: 'next-kernel' };

function readForOpenShift(spec: object): unknown {
  return parsePreflightValidationOcp({
    apiVersion: 'kmm.sigs.x-k8s.io/v1beta1',
    kind: 'PreflightValidationOCP',
    metadata,
    spec,
  });
}

describe('a PreflightValidation', () => {
  it.each(['v1beta1', 'v1beta2'])('is read in %s', (version) => {
    const object = {
      apiVersion: `kmm.sigs.x-k8s.io/${version}`,
      kind: 'PreflightValidation',
      metadata,
      spec: { kernelVersion: '5.14.0', pushBuiltImage: true },
    };
    expect(parsePreflightValidation(object)).toEqual(object);
  });

  it('needs a kernel', () => {
    const object = {
      apiVersion: 'kmm.sigs.x-k8s.io/v1beta2',
      kind: 'PreflightValidation',
      metadata,
      spec: { kernelVersion: ' ' },
    };
    expect(() => parsePreflightValidation(object)).toThrow(/spec\.kernelVersion/);
  });

  it.each([
    { releaseImage: 'quay.io/release:4.12', useRTKernel: true },
    { kernelVersion: '5.14.0', dtkImage: 'dtk.example/dtk:1' },
  ])('for OpenShift is read with %j', (spec) => {
    expect(readForOpenShift(spec)).toMatchObject({ spec });
  });

  it.each([{ releaseImage: 'quay.io/release:4.12', kernelVersion: '5.14.0' }, { pushBuiltImage: true }])(
    'for OpenShift is refused with %j',
    (spec) => {
      expect(() => readForOpenShift(spec)).toThrow(
        'exactly one of releaseImage and kernelVersion must be set',
      );
    },
  );
});
