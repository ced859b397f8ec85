import { MappingError } from './errors.ts';
import { kernelComponents, type Kernel } from '../../../builder/kernel.ts';
import type { ModuleName } from '../../../builder/labels.ts';

/** Values of variables by name. */
export type Variables = Readonly<Record<string, string>>;

const identifier = /^[\p{L}\p{Nd}_]+/u;

/**
 * Expands `$NAME` and `${NAME}` as envsubst does: unknown names are empty; `${NAME:-d}` and `${NAME:=d}` give
 * d if the name is unset or empty, `${NAME-d}` and `${NAME=d}` if it is unset, `${NAME:+x}` and `${NAME+x}`
 * give x if it is set; `$NAME` is expanded in d and x; `$$` is a dollar sign.
 * @throws MappingError INVALID_TEMPLATE if a brace is not closed on its line
 */
export function substitute(template: string, variables: Variables): string {
  let rest = template;
  let result = '';
  for (let dollar = rest.indexOf('$'); dollar !== -1; dollar = rest.indexOf('$')) {
    result += rest.slice(0, dollar);
    const { value, length } = expand(rest.slice(dollar), template, variables);
    result += value;
    rest = rest.slice(dollar + length);
  }
  return result + rest;
}

/** The value at the beginning of a text, and how many of its characters that replaces. */
interface Expansion {
  readonly value: string;
  readonly length: number;
}

/** Expands the dollar sign, or the variable, at the beginning of a text. */
function expand(text: string, template: string, variables: Variables): Expansion {
  if (text.startsWith('$$')) return { value: '$', length: 2 };
  if (text.startsWith('${}')) return { value: '${}', length: 3 };
  if (text.startsWith('${')) {
    const end = closingBrace(text, template);
    return { value: expandBraced(text.slice(2, end), variables), length: end + 1 };
  }
  const [name] = identifier.exec(text.slice(1)) ?? [];
  if (name === undefined || name === '_') return { value: '$', length: 1 };
  return { value: valueOf(name, variables) ?? '', length: 1 + name.length };
}

function closingBrace(text: string, template: string): number {
  let depth = 0;
  for (let index = 1; index < text.length; index++) {
    const character = text[index];
    if (character === '\n') break;
    if (character === '{' && text[index - 1] === '$') depth++;
    if (character === '}' && --depth === 0) return index;
  }
  throw new MappingError({
    code: 'INVALID_TEMPLATE',
    message: `closing brace expected in ${JSON.stringify(template)}`,
    hint: 'Write variables as ${KERNEL_FULL_VERSION}.',
    facts: { template },
  });
}

/** Expands the content of braces. */
function expandBraced(content: string, variables: Variables): string {
  const [name] = identifier.exec(content) ?? [];
  if (name === undefined) return '';
  const value = valueOf(name, variables);
  const [, operator, word = ''] = /^(:?[-=+?])(.*)$/.exec(content.slice(name.length)) ?? [];
  switch (operator) {
    case ':-':
    case ':=':
      return value === undefined || value === '' ? substitute(word, variables) : value;
    case '-':
    case '=':
      return value ?? substitute(word, variables);
    case ':+':
    case '+':
      return value === undefined ? '' : substitute(word, variables);
    case ':?':
      return '';
    // Other shell operators are not supported: the plain value.
    case undefined:
    default:
      return value ?? '';
  }
}

function valueOf(name: string, variables: Variables): string | undefined {
  return Object.hasOwn(variables, name) ? variables[name] : undefined;
}

/** Returns the variables that image names and paths may use. */
export function templateVariables(kernel: Kernel, module: ModuleName): Variables {
  const { x, y, z, xyz } = kernelComponents(kernel);
  return {
    KERNEL_FULL_VERSION: kernel.version,
    KERNEL_VERSION: kernel.version,
    KERNEL_XYZ: xyz,
    KERNEL_X: x,
    KERNEL_Y: y,
    KERNEL_Z: z,
    MOD_NAME: module.name,
    MOD_NAMESPACE: module.namespace,
  };
}
