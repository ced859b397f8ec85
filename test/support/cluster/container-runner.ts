import { mkdir, readFile, writeFile, chmod } from 'node:fs/promises';
import { join } from 'node:path';
import type { V1Container, V1LifecycleHandler } from '@kubernetes/client-node';
import { startContainer, type RunningContainer } from './container.ts';
import type { RunnableImage } from './images.ts';
import { readModprobeCalls, type ModprobeCall } from './modprobe.ts';
import { newRecord, type ContainerRecord, type State } from './pod-status.ts';
import { environmentOf, expand, MissingReference, type References } from './references.ts';
import { mountsOf } from './volumes.ts';

/** The context that a pod gives a container's runner. */
export interface PodContext {
  /** `namespace/name` */
  readonly name: string;
  readonly hostname: string;
  /** The pod's directory. */
  readonly folder: string;
  readonly references: References;
  /** Aborted when the pod must stop. */
  readonly stopping: AbortSignal;
  readonly kernel: () => string;
  /** The directory that stands for the node's /sys/module. */
  readonly sysModule: string;
  readonly image: (name: string) => Promise<RunnableImage>;
  /** Waits until the node is up. */
  readonly whenUp: () => Promise<void>;
  /** Called when the container's record has changed. */
  readonly changed: () => void;
  readonly event: (reason: string, message: string) => void;
  readonly called: (calls: readonly ModprobeCall[]) => void;
}

/** Milliseconds. Like the kubelet's, but shorter. */
const firstBackoff = 250;
const longestBackoff = 5000;
const retryAfter = 300;
const probeAfter = 100;
const longestMessage = 4096;
/** What a kubelet says of a container that was running when its node went down. */
const unseenEnd = { exitCode: 255, reason: 'Unknown', message: undefined };

/** Runs one container of a pod, restarting it according to the pod's restart policy. */
export class ContainerRunner {
  readonly record: ContainerRecord;
  readonly #container: V1Container;
  readonly #context: PodContext;
  #running: RunningContainer | undefined;
  #calls = 0;
  #collecting: Promise<void> = Promise.resolve();
  #crashed = false;
  #previousLogFile: string | undefined;

  constructor(container: V1Container, context: PodContext) {
    this.#container = container;
    this.#context = context;
    this.record = newRecord(container);
  }

  /** Returns the file with the output of the latest start. */
  logFile(): string {
    return join(this.#context.folder, `${this.record.name}-${this.record.restartCount}.log`);
  }

  /** The file with the output of what ended last, which a restart follows sooner or later. */
  get previousLogFile(): string | undefined {
    return this.#previousLogFile;
  }

  /**
   * Runs the container until it needs no restart, or its pod ends. `again` tells which exit codes cause a
   * restart.
   */
  async run(volumes: ReadonlyMap<string, string>, again: (exitCode: number) => boolean): Promise<void> {
    for (let failures = 0; ; failures += 1) {
      await this.#context.whenUp();
      const exitCode = await this.#once(volumes);
      if (exitCode === undefined || this.#context.stopping.aborted || !again(exitCode)) return;
      if (this.#crashed) failures = 0;
      this.#crashed = false;
      await this.#backOff(failures);
      if (this.#context.stopping.aborted) return;
    }
  }

  /** Runs its hook, terminates it, and kills it when the grace period is over. Milliseconds. */
  async stop(gracePeriod: number): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    const over = AbortSignal.timeout(Math.max(gracePeriod, 1));
    const { preStop } = this.#container.lifecycle ?? {};
    if (preStop !== undefined) {
      const { exitCode, output } = await this.#hook(running, preStop, over);
      if (exitCode !== 0) this.#context.event('FailedPreStopHook', output);
    }
    await running.terminate();
    const kill = (): void => running.kill();
    if (over.aborted) kill();
    over.addEventListener('abort', kill, { once: true });
    await running.exited;
    over.removeEventListener('abort', kill);
  }

  /** Kills it, as in a crash of its node. */
  crash(): void {
    this.#crashed = true;
    this.#running?.kill();
  }

  /** Runs it once and returns its exit code; undefined if it did not start because its pod ends. */
  async #once(volumes: ReadonlyMap<string, string>): Promise<number | undefined> {
    const image = await this.#image();
    const env = await this.#environment(image);
    if (image === undefined || env === undefined) return undefined;
    const { folder, kernel, stopping } = this.#context;
    const own = join(folder, `${this.record.name}-${this.record.restartCount}`);
    const message = join(own, 'termination-log');
    await mkdir(own);
    await writeFile(message, '');
    await chmod(message, 0o666);
    const { terminationMessagePath = '/dev/termination-log', securityContext, workingDir } = this.#container;
    if (stopping.aborted) return undefined;
    const startedAt = new Date().toISOString();
    this.#calls = 0;
    const running = await startContainer({
      folder: own,
      image,
      command: this.#command(image, env),
      env,
      workingDir: workingDir ?? image.workingDir ?? '/',
      mounts: [
        ...mountsOf(this.#container, volumes),
        { source: message, target: terminationMessagePath, readOnly: false },
      ],
      readOnlyRoot: securityContext?.readOnlyRootFilesystem === true,
      log: this.logFile(),
      kernel: kernel(),
      sysModule: this.#context.sysModule,
    });
    this.#running = running;
    const hook = await this.#postStart(running);
    if (hook === undefined) {
      this.#set({ running: { startedAt } });
      await this.#probe(running);
      this.#set(this.record.state);
      // A container that ended before the pod did keeps its exit code; otherwise it is killed here when the
      // pod ends.
      if (stopping.aborted) running.kill();
    } else running.kill();
    const ended = await running.exited;
    this.#running = undefined;
    await this.#collectCalls(running);
    this.record.ready = false;
    const times = { startedAt, finishedAt: new Date().toISOString() };
    if (this.#crashed) {
      this.#set({ terminated: { ...unseenEnd, ...times } });
      return unseenEnd.exitCode;
    }
    const reason = ended === 0 ? 'Completed' : 'Error';
    const words = hook ?? (await this.#lastWords(message, ended));
    this.#set({ terminated: { exitCode: ended, reason, message: words, ...times } });
    return ended;
  }

  /** Waits until the container is ready, if it has a probe, or has ended. */
  async #probe(running: RunningContainer): Promise<void> {
    const { exec } = this.#container.startupProbe ?? this.#container.readinessProbe ?? {};
    const isReady = exec === undefined || (await this.#becomesReady(running, exec.command ?? []));
    await this.#collectCalls(running);
    this.record.ready = isReady && !this.#context.stopping.aborted;
  }

  /** Returns whether a command succeeds in a container before it ends. */
  async #becomesReady(running: RunningContainer, command: readonly string[]): Promise<boolean> {
    const ended = running.exited.then(() => true);
    for (;;) {
      const { exitCode } = await running.exec(command, this.#context.stopping).catch(() => ({ exitCode: 1 }));
      if (exitCode === 0) return true;
      const hasEnded = await Promise.race([ended, this.#pause(probeAfter).then(() => false)]);
      if (hasEnded || this.#context.stopping.aborted) return false;
    }
  }

  /** Runs the start hook and returns its output if it failed. */
  async #postStart(running: RunningContainer): Promise<string | undefined> {
    const { postStart } = this.#container.lifecycle ?? {};
    if (postStart === undefined) return undefined;
    const { exitCode, output } = await this.#hook(running, postStart, this.#context.stopping);
    if (exitCode === 0) return undefined;
    const message = `PostStartHook failed: command exited with ${exitCode}: ${output}`;
    this.#context.event('FailedPostStartHook', message);
    return message;
  }

  async #hook(
    running: RunningContainer,
    { exec }: V1LifecycleHandler,
    signal: AbortSignal,
  ): Promise<{ exitCode: number; output: string }> {
    const result = await running.exec(exec?.command ?? [], signal);
    await this.#collectCalls(running);
    return result;
  }

  /**
   * Collects the calls recorded by modprobe, one collection at a time: hooks and the container's end may
   * overlap.
   */
  async #collectCalls({ modprobe }: RunningContainer): Promise<void> {
    const collect = async (): Promise<void> => {
      if (modprobe === undefined) return;
      const calls = await readModprobeCalls(modprobe, { pod: this.#context.name, skip: this.#calls });
      this.#calls += calls.length;
      this.#context.called(calls);
    };
    this.#collecting = this.#collecting.then(collect);
    await this.#collecting;
  }

  async #image(): Promise<RunnableImage | undefined> {
    const { image: name = '' } = this.#container;
    while (!this.#context.stopping.aborted) {
      try {
        return await this.#context.image(name);
      } catch (error) {
        const message = error instanceof Error ? error.message : String(error);
        this.#context.event('Failed', message);
        this.#set({ waiting: { reason: 'ErrImagePull', message } });
        await this.#pause(retryAfter);
        this.#set({
          waiting: { reason: 'ImagePullBackOff', message: `Back-off pulling image "${name}": ${message}` },
        });
        await this.#pause(retryAfter);
      }
    }
    return undefined;
  }

  async #environment(image: RunnableImage | undefined): Promise<Record<string, string> | undefined> {
    while (!this.#context.stopping.aborted) {
      try {
        const own = await environmentOf(this.#container.env ?? [], this.#context.references);
        return { HOSTNAME: this.#context.hostname, ...image?.env, ...own };
      } catch (error) {
        if (!(error instanceof MissingReference)) throw error;
        this.#set({ waiting: { reason: 'CreateContainerConfigError', message: error.message } });
        await this.#pause(retryAfter);
      }
    }
    return undefined;
  }

  #command(image: RunnableImage, env: Readonly<Record<string, string>>): string[] {
    const { command, args } = this.#container;
    const words =
      command === undefined
        ? [...(image.entrypoint ?? []), ...(args ?? image.arguments ?? [])]
        : [...command, ...(args ?? [])];
    return words.map((word) => expand(word, env));
  }

  async #lastWords(file: string, exitCode: number): Promise<string | undefined> {
    const said = (await readFile(file, 'utf8')).slice(0, longestMessage);
    if (said !== '') return said;
    if (exitCode === 0 || this.#container.terminationMessagePolicy !== 'FallbackToLogsOnError')
      return undefined;
    return (await readFile(this.logFile(), 'utf8')).slice(-longestMessage / 2);
  }

  async #backOff(failures: number): Promise<void> {
    const { terminated } = this.record.state;
    this.record.lastState = this.record.state;
    this.#previousLogFile = this.logFile();
    const message = terminated?.message;
    const reason = message?.startsWith('PostStartHook') === true ? 'PostStartHookError' : 'CrashLoopBackOff';
    this.#set({ waiting: message === undefined ? { reason } : { reason, message } });
    await this.#pause(Math.min(firstBackoff * 2 ** failures, longestBackoff));
    if (!this.#context.stopping.aborted) this.record.restartCount += 1;
  }

  #set(state: State): void {
    this.record.state = state;
    this.#context.changed();
  }

  async #pause(milliseconds: number): Promise<void> {
    const { stopping } = this.#context;
    if (stopping.aborted) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, milliseconds);
    const wake = (): void => resolve();
    stopping.addEventListener('abort', wake, { once: true });
    await promise;
    clearTimeout(timer);
    stopping.removeEventListener('abort', wake);
  }
}
