import type { Exchange } from './transfer-server.ts';

/** An answer, or undefined for what the server does otherwise. */
export type Behaviour = (exchange: Exchange & { count: number; registry: UploadServer }) => boolean | void;

/** A registry that takes uploads, but for what a test has it do otherwise. `stored` is what came to be in it. */
export class UploadServer {
  readonly log: string[] = [];
  stored: Buffer | undefined;
  #received = Buffer.alloc(0);
  #sessions = 0;
  readonly #behaviour: Behaviour;

  constructor(behaviour: Behaviour) {
    this.#behaviour = behaviour;
  }

  readonly answer = (exchange: Exchange): void => {
    const { method, url, response, body, request } = exchange;
    const range = request.headers['content-range'];
    this.log.push(
      `${method} ${url.pathname.replace('/v2/vendor/driver/', '')}${range === undefined ? '' : ` ${range}`}`,
    );
    const count = this.log.filter((line) => line.startsWith(method)).length;
    if (this.#behaviour({ ...exchange, count, registry: this }) === true) return;
    if (method === 'HEAD') return void response.writeHead(this.stored === undefined ? 404 : 200).end();
    if (method === 'POST') {
      this.#received = Buffer.alloc(0);
      this.#sessions += 1;
      return void response.writeHead(202, { location: this.#location() }).end();
    }
    if (method === 'PATCH') {
      this.append(body);
      return this.progress(response, 202);
    }
    if (method === 'GET') return this.progress(response, 204);
    if (method === 'DELETE') return void response.writeHead(204).end();
    this.append(body);
    this.stored = this.#received;
    response.writeHead(201, { 'docker-content-digest': url.searchParams.get('digest') ?? '' }).end();
  };

  append(body: Buffer): void {
    this.#received = Buffer.concat([this.#received, body]);
  }

  progress(response: Exchange['response'], status: number): void {
    const range = `0-${Math.max(this.#received.length - 1, 0)}`;
    response.writeHead(status, { location: this.#location(), range }).end();
  }

  #location(): string {
    return `/v2/vendor/driver/blobs/uploads/${this.#sessions}?_state=a%2Fb%20~c&offset=${this.#received.length}`;
  }
}
