/** What an error may carry: facts for machines, never a secret and never prose. */
export type ErrorFacts = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

/** How an error is described when it is made. */
export interface ErrorDetails<Code extends string> {
  readonly code: Code;
  /** One sentence that names the thing and the place. */
  readonly message: string;
  /** What to do next, one sentence. */
  readonly hint?: string | undefined;
  readonly facts?: ErrorFacts | undefined;
  /** Only an error that is known to hold no secret. */
  readonly cause?: unknown;
}

/**
 * The base of every error that the project throws on purpose. Consumers switch on `code`, which is
 * stable; `message` and `hint` are for people; `facts` say which thing, where.
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
