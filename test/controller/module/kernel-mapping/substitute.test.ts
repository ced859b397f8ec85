import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  substitute,
  templateVariables,
} from '../../../../src/controller/module/kernel-mapping/substitute.ts';
import { parseKernel } from '../../../../src/builder/kernel.ts';

const values = { KERNEL_XYZ: '5.14.0', EMPTY: '' };

/** What becomes of a text: `expanded`, `unchanged` or the message of the error. */
function outcomeOf(text: string): string {
  try {
    return substitute(text, values) === text && !text.includes('$') ? 'unchanged' : 'expanded';
  } catch (error) {
    return error instanceof Error ? error.message : 'something else was thrown';
  }
}

describe('substitution', () => {
  // What envsubst (a8m/envsubst) gives for the same texts.
  it.each([
    ['a:${KERNEL_XYZ}', 'a:5.14.0'],
    ['a:${UNKNOWN}', 'a:'],
    ['a:${UNKNOWN:-def}', 'a:def'],
    ['a:${UNKNOWN:=def}', 'a:def'],
    ['a:${UNKNOWN-def}', 'a:def'],
    ['a:${UNKNOWN=def}', 'a:def'],
    ['a:${EMPTY:-d}', 'a:d'],
    ['a:${EMPTY-d}', 'a:'],
    ['a:${KERNEL_XYZ:-d}', 'a:5.14.0'],
    ['a:${KERNEL_XYZ:+set}', 'a:set'],
    ['a:${KERNEL_XYZ+set}', 'a:set'],
    ['a:${UNKNOWN:+set}', 'a:'],
    ['a:$$KERNEL_XYZ', 'a:$KERNEL_XYZ'],
    ['$KERNEL_XYZ_foo', ''],
    ['$KERNEL_XYZ-foo', '5.14.0-foo'],
    ['${UNKNOWN:-$KERNEL_XYZ}', '5.14.0'],
    ['a:$', 'a:$'],
    ['a:${}', 'a:${}'],
    ['a:$1', 'a:'],
    ['a:${ KERNEL_XYZ }', 'a:'],
    ['a:\\$KERNEL_XYZ', 'a:\\5.14.0'],
    ['a:${#KERNEL_XYZ}', 'a:'],
    ['a:${KERNEL_XYZ%.0}', 'a:5.14.0'],
    ['a:${KERNEL_XYZ:1:2}', 'a:5.14.0'],
    ['a:${KERNEL_XYZ:?e}', 'a:'],
  ])('of %j gives %j', (template, expected) => {
    expect(substitute(template, values)).toBe(expected);
  });

  it('refuses a brace that is not closed', () => {
    expect(() => substitute('a:${KERNEL_XYZ', values)).toThrow('closing brace expected');
    expect(() => substitute('a:${KERNEL\n_XYZ}', values)).toThrow('closing brace expected');
  });

  it('does not take names from the prototype of objects', () => {
    expect(substitute('${constructor}${toString}', {})).toBe('');
  });

  it('leaves texts without a dollar sign alone, and never loops or fails in another way', () => {
    const unit = fc.constantFrom('$', '{', '}', ':', '-', '+', 'A', '_', ' ', '\n', 'é');
    fc.assert(
      fc.property(fc.string({ unit, size: 'medium' }), (text) => {
        expect(outcomeOf(text)).toMatch(
          text.includes('$') ? /^(?:expanded|closing brace expected)/ : /^unchanged$/,
        );
      }),
    );
  });

  it('never expands what a value holds', () => {
    fc.assert(
      fc.property(fc.string(), (value) => {
        expect(substitute('x${A}y', { A: value, B: 'b' })).toBe(`x${value}y`);
      }),
    );
  });
});

describe('the variables of a kernel', () => {
  const module = { namespace: 'ns', name: 'mod' };

  it.each([
    ['5.14.0-70.58.1.el9_0.x86_64', '5.14.0', ['5', '14', '0']],
    ['6.1-rc1', '6.1.rc1', ['6', '1', 'rc1']],
    ['6.1', '6.1', ['6', '1', '']],
    ['6', '6', ['6', '', '']],
    ['6.1.0+', '6.1.0', ['6', '1', '0']],
  ])('%s are %s and %j', (release, xyz, [x, y, z]) => {
    expect(templateVariables(parseKernel(release), module)).toMatchObject({
      KERNEL_XYZ: xyz,
      KERNEL_X: x,
      KERNEL_Y: y,
      KERNEL_Z: z,
      MOD_NAME: 'mod',
      MOD_NAMESPACE: 'ns',
    });
  });

  it('fit into the tag of an image, whatever the kernel is called', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 70, unit: 'grapheme' }), (release) => {
        const variables = templateVariables(parseKernel(release), module);
        expect(variables['KERNEL_FULL_VERSION']).toMatch(/^[A-Za-z0-9._-]*$/);
      }),
    );
  });
});
