import { randomUUID } from 'node:crypto';
import { appendFile } from 'node:fs/promises';

/** The levels of annotations. */
export type AnnotationLevel = 'error' | 'warning' | 'notice';

/** Talks to the runner: in lines on stdout, and in files whose paths are in its environment. */
export class WorkflowCommands {
  readonly #environment: NodeJS.ProcessEnv;

  constructor(environment: NodeJS.ProcessEnv) {
    this.#environment = environment;
  }

  /** Writes a line to the log. */
  log(text: string): void {
    process.stdout.write(`${text}\n`);
  }

  /** Hides a value, and each of its lines, in all that the job logs from now on. */
  mask(secret: string): void {
    this.log(`::add-mask::${escapeData(secret)}`);
  }

  /** Shows a message in the summary of the run and in the log. */
  annotate(level: AnnotationLevel, title: string, message: string): void {
    this.log(`::${level} title=${escapeProperty(title)}::${escapeData(message)}`);
  }

  /**
   * Has the runner ignore commands in what is logged until the returned function is called: names of files in an image
   * are its author's.
   */
  stopCommands(): () => void {
    const token = randomUUID();
    this.log(`::stop-commands::${token}`);
    return () => this.log(`::${token}::`);
  }

  /** Sets an output of the step. */
  async setOutput(name: string, value: string): Promise<void> {
    // No value can contain a delimiter that nobody can guess.
    const delimiter = randomUUID();
    await this.#append('GITHUB_OUTPUT', `${name}<<${delimiter}\n${value}\n${delimiter}\n`);
  }

  /** Adds Markdown to the summary of the job. */
  async addSummary(markdown: string): Promise<void> {
    await this.#append('GITHUB_STEP_SUMMARY', `${markdown}\n`);
  }

  /** Outside a runner there is no such file, and nobody to tell. */
  async #append(variable: string, text: string): Promise<void> {
    const file = this.#environment[variable];
    if (file !== undefined && file !== '') await appendFile(file, text);
  }
}

function escapeData(text: string): string {
  return text.replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A');
}

function escapeProperty(text: string): string {
  return escapeData(text).replaceAll(':', '%3A').replaceAll(',', '%2C');
}
