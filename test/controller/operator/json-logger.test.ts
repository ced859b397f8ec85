import { describe, expect, it } from 'vitest';
import { createJsonLogger } from '../../../src/controller/operator/json-logger.ts';
import { ApiError } from '../../../src/controller/runtime/api/errors.ts';
import { Secret } from '../../../src/shared/secret.ts';

function logging(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const lines: string[] = [];
  createJsonLogger({ write: (line) => lines.push(line) }).info('something happened', fields);
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
    const error = new ApiError({ code: 'CONFLICT', message: 'changed meanwhile', facts: { status: 409 } });
    const described = {
      name: 'ApiError',
      code: 'CONFLICT',
      message: 'changed meanwhile',
      facts: { status: 409 },
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
      stack: expect.stringContaining('json-logger.test.ts') as unknown,
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
    const log = createJsonLogger({ write: (line) => lines.push(line), level: 'warn' });
    log.info('not this');
    log.debug('nor this');
    log.error('this');
    expect(lines).toHaveLength(1);
  });
});
