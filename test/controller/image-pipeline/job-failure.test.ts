import { describe, expect, it } from 'vitest';
import { failureExcerpt } from '../../../src/controller/image-pipeline/job-failure.ts';

const compilerError = "/src/hello.c:12:9: error: implicit declaration of function 'print_info'";

describe("the excerpt of a failed Job's log", () => {
  it('is its last lines without colours and empty lines', () => {
    expect(failureExcerpt('one\ntwo\n\u001b[31mthree\u001b[0m\n\nfour\n')).toBe('two | three | four');
  });

  it('begins with the first error of a compiler, however much output follows', () => {
    const log = [
      'make',
      compilerError,
      'a.c:13:1: error: more',
      ...Array<string>(20).fill('make: Error 2'),
      'the end',
    ];
    expect(failureExcerpt(log.join('\n'))).toBe(`${compilerError} | … | the end`);
  });

  it('does not repeat a compiler error that is among the last lines', () => {
    expect(failureExcerpt(`make\n${compilerError}\nthe end`)).toBe(`make | ${compilerError} | the end`);
  });

  it.each([
    [
      'a command that does not exist, by Buildah',
      [
        'STEP 1/2: FROM registry.example/base:v1',
        'Trying to pull registry.example/base:v1...',
        'Storing signatures',
        'STEP 2/2: RUN mak modules',
        '/bin/sh: mak: not found',
        'subprocess exited with status 127',
        'subprocess exited with status 127',
        'Error: building at STEP "RUN mak modules": exit status 127',
      ],
      '/bin/sh: mak: not found',
    ],
    [
      'a command that does not exist, by a newer Buildah',
      [
        'STEP 2/2: RUN mak modules',
        '/bin/sh: mak: not found',
        'time="2026-05-01T12:00:00Z" level=error msg="exit status 127"',
        'Error: building at STEP "RUN mak modules": while running runtime: exit status 127',
      ],
      '/bin/sh: mak: not found',
    ],
    [
      'a command that does not exist, by Kaniko',
      [
        '\u001b[36mINFO\u001b[0m[0000] RUN mak modules',
        '\u001b[36mINFO\u001b[0m[0000] Running: [/bin/sh -c mak modules]',
        '/bin/sh: mak: not found',
        'error building image: error building stage: failed to execute command: waiting for process to exit: exit status 127',
      ],
      '/bin/sh: mak: not found',
    ],
    [
      'the last output of the step, not that of steps before',
      [
        'STEP 1/2: RUN make prepare',
        'prepared',
        'STEP 2/2: RUN make',
        'make[1]: Entering directory /src',
        'make: *** No rule to make target',
        'Error: building at STEP "RUN make": exit status 2',
      ],
      'make[1]: Entering directory /src | make: *** No rule to make target',
    ],
    [
      'what the builder says of a step without output, by Buildah',
      [
        'STEP 1/2: RUN make prepare',
        'prepared',
        'STEP 2/2: COPY missing.c /src/',
        'Error: building at STEP "COPY missing.c /src/": copier: stat: "/missing.c": no such file or directory',
      ],
      'Error: building at STEP "COPY missing.c /src/": copier: stat: "/missing.c": no such file or directory',
    ],
    [
      'that the command failed if it printed nothing',
      ['STEP 2/2: RUN false', 'Error: building at STEP "RUN false": exit status 1'],
      'Error: building at STEP "RUN false": exit status 1',
    ],
    [
      'progress if there is nothing else, as of a builder that was killed',
      ['STEP 2/3: RUN make', 'STEP 3/3: RUN make install'],
      'STEP 2/3: RUN make | STEP 3/3: RUN make install',
    ],
  ])('is, of a builder, %s', (_title, log, excerpt) => {
    expect(failureExcerpt(log.join('\n'))).toBe(excerpt);
  });

  it('is short enough for a status and shows no token', () => {
    const token = `ey${'a'.repeat(36)}.${'b'.repeat(20)}`;
    for (const log of [
      'x'.repeat(5000),
      `${compilerError}${'y'.repeat(5000)}\na\nb\n${'z'.repeat(5000)} ${token}`,
    ]) {
      const text = failureExcerpt(log);
      expect(text.length).toBeLessThan(620);
      expect(text).not.toContain(token);
    }
  });
});
