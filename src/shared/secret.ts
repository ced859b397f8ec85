import { inspect } from 'node:util';

const redacted = '[redacted]';

/**
 * A value that must never be printed: `JSON.stringify`, `util.inspect`, string conversion and loggers see
 * `[redacted]`. Only `reveal()` returns the value itself.
 */
export class Secret<T> {
  readonly #value: T;

  constructor(value: T) {
    this.#value = value;
  }

  reveal(): T {
    return this.#value;
  }

  toJSON(): string {
    return redacted;
  }

  toString(): string {
    return redacted;
  }

  [inspect.custom](): string {
    return redacted;
  }
}
