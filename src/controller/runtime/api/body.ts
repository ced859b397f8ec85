import type { IncomingMessage } from 'node:http';
import { parseJson } from '../../../shared/json.ts';
import { ApiError } from './errors.ts';

/** A page of 500 objects of 100 KiB each is smaller; of larger objects, fewer are requested. */
const maxBodyBytes = 64 * 1024 * 1024;
/** etcd stores objects of up to 1.5 MiB by default, and the API server none above 3 MiB. */
const maxLineBytes = 16 * 1024 * 1024;

const newline = 0x0a;

/** Reads the JSON of a response. @throws ApiError TOO_LARGE, UNEXPECTED_RESPONSE, NETWORK, TIMEOUT */
export async function readJson(response: IncomingMessage, path: string, timeout: number): Promise<unknown> {
  return parse(await readAll(response, path, timeout), path);
}

/** Reads a response to its end. @throws ApiError TOO_LARGE, NETWORK, TIMEOUT */
export async function readAll(response: IncomingMessage, path: string, timeout: number): Promise<Buffer> {
  const timer = setTimeout(() => response.destroy(timedOut(path)), timeout);
  try {
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of response as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > maxBodyBytes) throw tooLarge(path);
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    throw asApiError(error, path);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Reads a response with one JSON document per line, and reports each chunk.
 * @throws ApiError UNEXPECTED_RESPONSE, NETWORK
 */
export async function* readJsonLines(
  response: IncomingMessage,
  path: string,
  onChunk: () => void,
): AsyncGenerator {
  let pending: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      onChunk();
      let start = 0;
      for (let end = chunk.indexOf(newline); end >= 0; end = chunk.indexOf(newline, start)) {
        pending.push(chunk.subarray(start, end));
        const line = Buffer.concat(pending);
        pending = [];
        size = 0;
        start = end + 1;
        if (line.length > 0) yield parse(line, path);
      }
      if (start === chunk.length) continue;
      pending.push(chunk.subarray(start));
      size += chunk.length - start;
      if (size > maxLineBytes) throw unexpected(path, `has a line of more than ${maxLineBytes} bytes`);
    }
  } catch (error) {
    throw asApiError(error, path);
  }
}

function parse(bytes: Buffer, path: string): unknown {
  const json = parseJson(bytes.toString('utf8'));
  if (json === undefined) throw unexpected(path, 'is not JSON');
  return json;
}

function asApiError(error: unknown, path: string): unknown {
  if (error instanceof ApiError || (error instanceof Error && error.name === 'AbortError')) return error;
  return new ApiError({
    code: 'NETWORK',
    message: `The response to ${path} ended early: ${error instanceof Error ? error.message : 'unknown reason'}`,
    facts: { path },
  });
}

function timedOut(path: string): ApiError {
  return new ApiError({
    code: 'TIMEOUT',
    message: `The response to ${path} timed out`,
    facts: { path },
  });
}

function tooLarge(path: string): ApiError {
  return new ApiError({
    code: 'TOO_LARGE',
    message: `The response to ${path} is larger than ${maxBodyBytes} bytes`,
    facts: { path, limit: maxBodyBytes },
  });
}

function unexpected(path: string, what: string): ApiError {
  return new ApiError({
    code: 'UNEXPECTED_RESPONSE',
    message: `The response to ${path} ${what}`,
    facts: { path },
  });
}
