import { execFile } from 'node:child_process';
import { createPrivateKey, createSign, randomUUID, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { requireProgram } from './programs.ts';

/** A user who may get tokens. */
export interface TokenUser {
  readonly username: string;
  readonly password: string;
  /** A token that the user may exchange by POST. */
  readonly refreshToken?: string;
  /** Repositories that the user may push to; every user may pull. @default all */
  readonly mayPushTo?: readonly string[];
}

export interface TokenServerOptions {
  readonly users: readonly TokenUser[];
  /** Whether clients without credentials may pull. @default false */
  readonly anonymousPull?: boolean;
  /** Seconds, as told to clients and written into tokens. @default 300 */
  readonly lifetime?: number;
  /** Whether POST gets a 404. @default false */
  readonly withoutPost?: boolean;
}

/** A request for a token, as received. */
interface TokenServerRequest {
  readonly method: string;
  readonly scopes: readonly string[];
  readonly service: string | null;
  /** The authenticated user; null for none. */
  readonly user: string | null;
  readonly status: number;
}

/**
 * A server of Bearer tokens (distribution, "Token Authentication") that real registries trust: it fits
 * `TokenService` in registries.ts.
 */
export interface TokenServer extends AsyncDisposable {
  readonly realm: string;
  readonly service: string;
  readonly issuer: string;
  /** PEM file, for the registry's rootcertbundle. */
  readonly certificate: string;
  readonly requests: readonly TokenServerRequest[];
  /**
   * Makes the server issue tokens that claim to be valid but that registries consider expired, or valid ones
   * again.
   */
  issueExpired(expired: boolean): void;
  close(): Promise<void>;
}

/** Starts a token server on a free port of 127.0.0.1. Needs openssl for its certificate. */
export async function startTokenServer(options: TokenServerOptions): Promise<TokenServer> {
  const folder = await mkdtemp(join(tmpdir(), 'kmm-sign-test-tokens-'));
  const signer = await createTokenSigner(folder);
  const requests: TokenServerRequest[] = [];
  const state = { expired: false };
  const server = createServer((request, response) => {
    void answer({ request, response, options, signer, state, requests });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const close = async (): Promise<void> => {
    await closeServer(server);
    await rm(folder, { recursive: true, force: true });
  };
  return {
    realm: `http://127.0.0.1:${portOf(server)}/token`,
    service: tokenService,
    issuer: tokenIssuer,
    certificate: signer.certificateFile,
    requests,
    issueExpired: (expired) => {
      state.expired = expired;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

const tokenService = 'registry.test';
const tokenIssuer = 'token-server.test';

/** Returns the port that a server listens on. */
export function portOf(server: Pick<Server, 'address'>): number {
  const address = server.address();
  if (typeof address !== 'object' || address === null) throw new Error('the server does not listen');
  return address.port;
}

async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeAllConnections();
  await closed;
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

interface TokenSigner {
  readonly certificateFile: string;
  sign(claims: Readonly<Record<string, unknown>>): string;
}

async function createTokenSigner(folder: string): Promise<TokenSigner> {
  const files = { certificate: join(folder, 'tokens.crt'), key: join(folder, 'tokens.key') };
  await promisify(execFile)(
    requireProgram('openssl'),
    [
      ['req', '-x509', '-newkey', 'rsa:2048', '-noenc', '-days', '2', '-subj', '/CN=kmm-sign test tokens'],
      ['-keyout', files.key, '-out', files.certificate],
    ].flat(),
  );
  const key = createPrivateKey(await readFile(files.key));
  const certificate = new X509Certificate(await readFile(files.certificate)).raw.toString('base64');
  return {
    certificateFile: files.certificate,
    sign(claims) {
      const text = `${encode({ typ: 'JWT', alg: 'RS256', x5c: [certificate] })}.${encode(claims)}`;
      return `${text}.${createSign('sha256').update(text).sign(key, 'base64url')}`;
    },
  };
}

interface AnswerContext {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly options: TokenServerOptions;
  readonly signer: TokenSigner;
  readonly state: { readonly expired: boolean };
  readonly requests: TokenServerRequest[];
}

async function answer(context: AnswerContext): Promise<void> {
  const { request, response, options, requests } = context;
  const asked = await readQuestion(request, options.users);
  const scopes = asked.parameters.getAll('scope').flatMap((scope) => scope.split(' '));
  const status =
    request.method === 'POST' && options.withoutPost === true
      ? 404
      : asked.refused || (asked.user === undefined && options.anonymousPull !== true)
        ? 401
        : 200;
  requests.push({
    method: request.method ?? '',
    scopes,
    service: asked.parameters.get('service'),
    user: asked.user?.username ?? null,
    status,
  });
  const body =
    status === 200 ? tokenBody(context, scopes, asked.user) : { errors: [{ code: 'UNAUTHORIZED' }] };
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

interface Question {
  readonly parameters: URLSearchParams;
  readonly user: TokenUser | undefined;
  /** Whether credentials were given and wrong. */
  readonly refused: boolean;
}

async function readQuestion(request: IncomingMessage, users: readonly TokenUser[]): Promise<Question> {
  if (request.method === 'POST') {
    const parameters = new URLSearchParams(Buffer.concat(await request.toArray()).toString());
    const token = parameters.get('refresh_token');
    const user = users.find(({ refreshToken }) => refreshToken !== undefined && refreshToken === token);
    return { parameters, user, refused: user === undefined };
  }
  const parameters = new URL(request.url ?? '/', 'http://token.test').searchParams;
  const { authorization } = request.headers;
  if (authorization === undefined) return { parameters, user: undefined, refused: false };
  const login = Buffer.from(authorization.replace(/^Basic /, ''), 'base64').toString();
  const user = users.find(({ username, password }) => login === `${username}:${password}`);
  return { parameters, user, refused: user === undefined };
}

function tokenBody(
  { options, signer, state }: AnswerContext,
  scopes: readonly string[],
  user: TokenUser | undefined,
): unknown {
  const now = Math.floor(Date.now() / 1000);
  const lifetime = options.lifetime ?? 300;
  // Registries allow for a minute of clock skew.
  const start = state.expired ? now - lifetime - 600 : now;
  const token = signer.sign({
    iss: tokenIssuer,
    sub: user?.username ?? '',
    aud: tokenService,
    iat: start,
    nbf: start - 10,
    exp: start + lifetime,
    jti: randomUUID(),
    access: scopes.flatMap((scope) => accessOf(scope, user)),
  });
  return { token, expires_in: lifetime, issued_at: new Date(now * 1000).toISOString() };
}

function accessOf(
  scope: string,
  user: TokenUser | undefined,
): { type: string; name: string; actions: string[] }[] {
  const [type = '', ...rest] = scope.split(':');
  const actions = rest.pop()?.split(',') ?? [];
  const name = rest.join(':');
  const mayPush = user !== undefined && (user.mayPushTo === undefined || user.mayPushTo.includes(name));
  return [{ type, name, actions: actions.filter((action) => action === 'pull' || mayPush) }];
}
