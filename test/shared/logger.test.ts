import { describe, expect, it } from 'vitest';
import { RegistryError } from '../../src/registry/model/errors.ts';
import { createLogger, jsonLine } from '../../src/shared/logger.ts';
import { Secret } from '../../src/shared/secret.ts';

function logging(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const lines: string[] = [];
  createLogger('info', jsonLine, (line) => lines.push(line)).info('something happened', fields);
  expect(lines).toHaveLength(1);
  return JSON.parse(lines[0] ?? '') as Record<string, unknown>;
}

describe('the JSON log', () => {
  it('has time, level and message, which no field can replace', () => {
    const entry = logging({ level: 'error', count: 1, large: 12n });
    expect(entry).toMatchObject({ level: 'info', message: 'something happened', count: 1, large: '12' });
    expect(Date.parse(String(entry['time']))).not.toBeNaN();
  });

  it('describes errors with code and facts, and defects with their stack', () => {
    const error = new RegistryError({ code: 'DENIED', message: 'not allowed', facts: { status: 403 } });
    const described = {
      name: 'RegistryError',
      code: 'DENIED',
      message: 'not allowed',
      facts: { status: 403 },
    };
    expect(logging({ error })['error']).toEqual(described);
    expect(logging({ error: new AggregateError([error], 'one failed') })['error']).toEqual({
      name: 'AggregateError',
      message: 'one failed',
      errors: [described],
    });
    expect(logging({ error: new TypeError('defect') })['error']).toMatchObject({
      name: 'TypeError',
      message: 'defect',
      stack: expect.stringContaining('logger.test.ts') as unknown,
    });
  });

  it('writes one line, whatever is logged, and no secret', () => {
    const circular: Record<string, unknown> = {};
    circular['self'] = circular;
    expect(logging({ circular })).toMatchObject({ message: 'something happened', unprintable: ['circular'] });
    expect(logging({ text: 'a\nb' })).toMatchObject({ text: 'a\nb' });
    expect(logging({ token: new Secret('hidden') })).toMatchObject({ token: '[redacted]' });
  });

  it('leaves out what is below its level', () => {
    const lines: string[] = [];
    const log = createLogger('warn', jsonLine, (line) => lines.push(line));
    log.info('not this');
    log.debug('nor this');
    log.error('this');
    expect(lines).toHaveLength(1);
  });
});
