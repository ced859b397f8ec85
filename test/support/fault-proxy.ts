import { once } from 'node:events';
import {
  createServer,
  request as send,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { buffer } from 'node:stream/consumers';

/** How a request can be broken. */
export type Fault =
  /** The connection is reset as soon as the request's headers have arrived; the registry sees nothing. */
  | { readonly kind: 'reset-at-once' }
  /** The registry receives everything and responds, then the connection is reset: the client cannot know. */
  | { readonly kind: 'reset-before-answer' }
  /** The connection is reset in the middle of the response's body. */
  | { readonly kind: 'reset-in-answer' }
  /** The response's body ends before its Content-Length; the connection is closed cleanly. */
  | { readonly kind: 'cut-body' }
  /** One byte in the middle of the response's body is changed. */
  | { readonly kind: 'changed-body' }
  /** The response is passed on once that is resolved. */
  | { readonly kind: 'held'; readonly until: Promise<unknown> }
  /** The registry sees nothing; the client gets this status. */
  | {
      readonly kind: 'status';
      readonly status: number;
      readonly headers?: Readonly<Record<string, string>>;
      readonly body?: string;
    };

/** The faults that a client must cope with, by name. */
export const faults: Readonly<Record<string, Fault>> = {
  'connection reset at once': { kind: 'reset-at-once' },
  'connection reset before the answer': { kind: 'reset-before-answer' },
  'connection reset in the answer': { kind: 'reset-in-answer' },
  '401': { kind: 'status', status: 401, headers: { 'www-authenticate': 'Basic realm="fault"' } },
  '429': { kind: 'status', status: 429, headers: { 'retry-after': '0' } },
  '500': { kind: 'status', status: 500, body: 'the registry is unwell' },
  'body cut': { kind: 'cut-body' },
  'body changed': { kind: 'changed-body' },
};

/** A request as it arrived at the proxy. */
export interface RecordedRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  /** The status sent to the client; 0 if there was no response. */
  readonly status: number;
  /** Bytes of the response's body from the registry. */
  readonly bytesDown: number;
  /** Bytes of the request's body sent to the registry. */
  readonly bytesUp: number;
  readonly fault: Fault | undefined;
}

/** Chooses a fault for a request, or none. `position` counts from 0 since the last reset. */
export type ChooseFault = (request: {
  position: number;
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
}) => Fault | undefined;

/** A proxy in front of a registry that records requests and injects faults. */
export interface FaultProxy extends AsyncDisposable {
  /** As in references. */
  readonly host: string;
  readonly url: string;
  /** Requests since the last reset, in order of arrival. */
  readonly requests: readonly RecordedRequest[];
  /** Restarts recording, with other faults. */
  reset(choose?: ChooseFault): void;
  /** Breaks only the request at one position. */
  breakAt(position: number, fault: Fault): void;
  close(): Promise<void>;
}

type Mutable<Type> = { -readonly [Key in keyof Type]: Type[Key] };

/** Starts a proxy in front of a registry with plain HTTP, on a free port of 127.0.0.1. */
export async function startFaultProxy({
  target,
  choose,
}: {
  target: string;
  choose?: ChooseFault;
}): Promise<FaultProxy> {
  const state: { requests: Mutable<RecordedRequest>[]; choose: ChooseFault } = {
    requests: [],
    choose: choose ?? (() => undefined),
  };
  const server = createServer((request, response) => {
    const { method = 'GET', url: path = '/', headers } = request;
    const fault = state.choose({ position: state.requests.length, method, path, headers });
    const record = { method, path, headers, status: 0, bytesDown: 0, bytesUp: 0, fault };
    state.requests.push(record);
    void pass({ target, request, response, record, fault }).catch(() => response.destroy());
  });
  server.requestTimeout = 0;
  const host = await listen(server);
  const close = async (): Promise<void> => {
    const closed = once(server, 'close');
    server.close();
    server.closeAllConnections();
    await closed;
  };
  return {
    host,
    url: `http://${host}`,
    get requests() {
      return state.requests;
    },
    reset: (next = () => undefined) => {
      state.requests = [];
      state.choose = next;
    },
    breakAt: (position, fault) => {
      state.requests = [];
      state.choose = (request) => (request.position === position ? fault : undefined);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function listen(server: Server): Promise<string> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('no port was assigned');
  return `127.0.0.1:${address.port}`;
}

interface Passage {
  readonly target: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly record: Mutable<RecordedRequest>;
  readonly fault: Fault | undefined;
}

async function pass({ target, request, response, record, fault }: Passage): Promise<void> {
  if (fault?.kind === 'reset-at-once') {
    request.socket.resetAndDestroy();
    return;
  }
  if (fault?.kind === 'status') {
    request.resume();
    await once(request, 'end');
    record.status = fault.status;
    response.writeHead(fault.status, {
      ...fault.headers,
      'content-length': Buffer.byteLength(fault.body ?? ''),
    });
    response.end(fault.body);
    return;
  }
  const answer = await forward({ target, request, record });
  if (fault?.kind === 'held') await fault.until;
  if (fault === undefined || fault.kind === 'held') {
    await relay({ answer, response, record });
    return;
  }
  await breakAnswer({ answer, request, response, record, fault });
}

async function forward({
  target,
  request,
  record,
}: Pick<Passage, 'target' | 'request' | 'record'>): Promise<IncomingMessage> {
  const outgoing = send(new URL(request.url ?? '/', target), {
    method: request.method ?? 'GET',
    headers: request.headers,
    agent: false,
  });
  request.on('data', (chunk: Buffer) => {
    record.bytesUp += chunk.length;
  });
  request.once('close', () => {
    if (!request.complete) outgoing.destroy();
  });
  request.pipe(outgoing);
  const [answer] = (await once(outgoing, 'response')) as [IncomingMessage];
  return answer;
}

interface Relay {
  readonly answer: IncomingMessage;
  readonly response: ServerResponse;
  readonly record: Mutable<RecordedRequest>;
}

async function relay({ answer, response, record }: Relay): Promise<void> {
  record.status = answer.statusCode ?? 0;
  response.writeHead(record.status, answer.rawHeaders);
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    record.bytesDown += chunk.length;
    if (!response.write(chunk)) await once(response, 'drain');
  }
  response.end();
}

async function breakAnswer({
  answer,
  request,
  response,
  record,
  fault,
}: Relay & { readonly request: IncomingMessage; readonly fault: Fault }): Promise<void> {
  const body = await buffer(answer);
  record.bytesDown = body.length;
  if (fault.kind === 'reset-before-answer') {
    request.socket.resetAndDestroy();
    return;
  }
  record.status = answer.statusCode ?? 0;
  response.writeHead(record.status, answer.rawHeaders);
  const middle = Math.floor(body.length / 2);
  if (fault.kind === 'changed-body') {
    if (body.length > 0) body.writeUInt8(body.readUInt8(middle) ^ 0xff, middle);
    response.end(body);
    return;
  }
  response.flushHeaders();
  await new Promise((resolve) => response.write(body.subarray(0, middle), resolve));
  if (fault.kind === 'reset-in-answer') request.socket.resetAndDestroy();
  else request.socket.end();
}
