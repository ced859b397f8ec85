import { describe, expect, it } from 'vitest';
import { driverToolkitTable, findDriverToolkit } from '../../src/builder/driver-toolkit.ts';
import { parseKernel } from '../../src/builder/kernel.ts';

const image =
  'quay.io/openshift-release-dev/ocp-v4.0-art-dev@sha256:df42b4785a7a662b30da53bdb0d206120cf4d24b45674227b16051ba4b7c3934';
const kernel = parseKernel('4.18.0-372.43.1.el8_6.x86_64');
const osImage = 'Red Hat Enterprise Linux CoreOS 412.86.202302211547-0 (Ootpa)';

describe('the Driver Toolkit', () => {
  // Tag and image are those of the log in the KMM documentation.
  const table = driverToolkitTable({
    spec: {
      tags: [
        { name: '412.86.202302211547-0', from: { kind: 'DockerImage', name: image } },
        { name: 'latest', from: { name: 'not this one' } },
        { name: 'empty' },
      ],
    },
  });

  it('is found by the version in the name of the OS image', () => {
    expect(findDriverToolkit(kernel, [osImage], table)).toEqual({ found: true, image });
  });

  it('is not taken from another build that begins alike', () => {
    const osImages = ['Red Hat Enterprise Linux CoreOS 412.86.202302211547-01 (Ootpa)'];
    expect(findDriverToolkit(kernel, osImages, table)).toEqual({
      found: false,
      missing: ['412.86.202302211547-01'],
    });
  });

  it('is found by kernel where the configuration lists kernels', () => {
    const configured = new Map([['6.1.0-18-amd64', 'registry.example/headers:6.1']]);
    const debian = parseKernel('6.1.0-18-amd64');
    const osImages = ['Debian GNU/Linux 12 (bookworm)'];
    expect(findDriverToolkit(debian, osImages, configured)).toMatchObject({ found: true });
    expect(findDriverToolkit(debian, osImages, table)).toEqual({ found: false, missing: ['6.1.0-18-amd64'] });
  });

  it('has an empty table when the ImageStream is not one', () => {
    expect(driverToolkitTable(undefined).size).toBe(0);
    expect(driverToolkitTable({ spec: { tags: 'none' } }).size).toBe(0);
  });
});
