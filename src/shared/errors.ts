/** Machine-readable facts of an error; never a secret, never prose. */
export type ErrorFacts = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

/** The constructor arguments of an error. */
export interface ErrorDetails<Code extends string> {
  readonly code: Code;
  /** One sentence that names the object and the place. */
  readonly message: string;
  /** What to do next, one sentence. */
  readonly hint?: string | undefined;
  readonly facts?: ErrorFacts | undefined;
  /** Only an error that is known to contain no secret. */
  readonly cause?: unknown;
}

/**
 * The base class of every error that the project throws on purpose. Consumers switch on `code`, which is
 * stable; `message` and `hint` are for people; `facts` say which object is concerned, and where.
 */
export class KmmError<Code extends string = string> extends Error {
  override readonly name: string = 'KmmError';
  readonly code: Code;
  readonly hint: string | undefined;
  readonly facts: ErrorFacts;

  constructor({ code, message, hint, facts, cause }: ErrorDetails<Code>) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.hint = hint;
    this.facts = facts ?? {};
  }

  /** The shape of the error in JSON output. */
  toJSON(): { code: Code; message: string; hint?: string; facts: ErrorFacts } {
    return {
      code: this.code,
      message: this.message,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      facts: this.facts,
    };
  }
}
