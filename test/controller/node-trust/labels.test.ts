import { describe, expect, it } from 'vitest';
import { onlyTrust, trustLabels } from '../../../src/controller/node-trust/labels.ts';

const id = 'cbb419ea1d4d1bd0c4d4ae22d1e2b0f7a5a4f3e2';

describe('trustLabels', () => {
  it('has a label for each fact and each key', () => {
    const report = [
      'secure-boot=true',
      'lockdown=integrity',
      'sig-enforce=false',
      'signature-required=true',
      `key-${id}=true`,
      'key-0123=platform',
    ].join('\n');
    expect(trustLabels(`${report}\n`)).toEqual({
      'trust.kmm.sigs.x-k8s.io/secure-boot': 'true',
      'trust.kmm.sigs.x-k8s.io/lockdown': 'integrity',
      'trust.kmm.sigs.x-k8s.io/sig-enforce': 'false',
      'trust.kmm.sigs.x-k8s.io/signature-required': 'true',
      [`key.trust.kmm.sigs.x-k8s.io/${id}`]: 'true',
      'key.trust.kmm.sigs.x-k8s.io/0123': 'platform',
    });
  });

  it.each([
    'secure-boot=yes',
    'lockdown=',
    'unknown=true',
    'key-xyz=true',
    `key-${'a'.repeat(63)}=true`,
    'constructor=true',
  ])('ignores %s', (line) => expect(trustLabels(line)).toEqual({}));
});

describe('onlyTrust', () => {
  it('leaves out the labels of others', () => {
    const own = { 'trust.kmm.sigs.x-k8s.io/lockdown': 'none', 'key.trust.kmm.sigs.x-k8s.io/01': 'true' };
    expect(onlyTrust({ ...own, 'kubernetes.io/arch': 'amd64' })).toEqual(own);
  });
});
