import { describe, expect, it } from 'vitest';
import { buildJob } from '../../../src/builder/build-job.ts';
import { signJob } from '../../../src/builder/sign-job.ts';
import { nameSecrets } from '../../../src/controller/image-pipeline/job-secrets.ts';
import { buildAndSignTarget, buildInputs, signInputs } from '../../builder/targets.ts';

const target = buildAndSignTarget();
const signing = signJob(target, signInputs({ namespace: 'drivers' }));
const building = buildJob('kaniko', target, buildInputs({ namespace: 'drivers' }));
const { keySecret = '', certSecret = '' } = target.sign ?? {};

describe('the description of a failed Job', () => {
  it('names the Secret instead of the file that is mounted from it', () => {
    expect(nameSecrets('/run/kmm-sign/key/key does not match /run/kmm-sign/certificate/cert', signing)).toBe(
      `entry "key" of Secret drivers/${keySecret} does not match entry "cert" of Secret drivers/${certSecret}`,
    );
  });

  it('lists the Secrets of a sign Job whose log mentions none', () => {
    const text = nameSecrets('Job sign-1 failed (exit code 1)', signing);
    expect(text).toMatch(/^Job sign-1 failed \(exit code 1\) \(it used Secret /);
    for (const name of [keySecret, certSecret]) expect(text).toContain(`Secret drivers/${name}`);
    expect(nameSecrets(text, signing)).toBe(text);
  });

  it('names the Secret of a build, and lists none that its log does not mention', () => {
    expect(nameSecrets('cat: /run/secrets/token/token: not found', building)).toBe(
      'cat: Secret drivers/token/token: not found',
    );
    expect(nameSecrets('/bin/sh: mak: not found', building)).toBe('/bin/sh: mak: not found');
  });
});
