import { z } from 'zod';

/** Where Kubernetes keeps all objects, and the end of that range. */
const objects = { key: encode('/registry/'), range_end: encode('/registry0') };
/** What servers and leaders renew all the time. */
const renewed = /^\/registry\/(?:leases|masterleases)\//;

const entrySchema = z.object({
  key: z.string(),
  value: z.string().default(''),
  lease: z.string().default('0'),
});
const answerSchema = z.object({
  header: z.object({ revision: z.string() }),
  kvs: z.array(entrySchema).default([]),
});

/** The gateway of an etcd that listens on a port of 127.0.0.1. */
export class Etcd {
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
  }

  /** Discards the history. */
  async compact(): Promise<void> {
    await this.#ask('compaction', { revision: await this.revision(), physical: true });
  }

  /** The number of the last change. */
  async revision(): Promise<string> {
    return (await this.#ask('range', { key: encode('/') })).header.revision;
  }

  /**
   * Makes all objects of Kubernetes as they were after a change, without the ceremony of deleting them. Returns
   * whether there was anything to do.
   * @throws Error if the history has been discarded since
   */
  async restore(revision: string): Promise<boolean> {
    const before = await this.#entries({ revision });
    const now = await this.#entries({});
    const added = [...now.keys()].filter((key) => !before.has(key));
    // Without its lease, an entry would stay for ever.
    const changed = [...before.values()].filter(
      ({ key, value, lease }) => lease === '0' && now.get(key)?.value !== value,
    );
    for (const key of added) await this.#ask('deleterange', { key });
    for (const { key, value } of changed) await this.#ask('put', { key, value });
    return added.length + changed.length > 0;
  }

  async #entries(more: object): Promise<Map<string, z.infer<typeof entrySchema>>> {
    const { kvs } = await this.#ask('range', { ...objects, ...more });
    return new Map(
      kvs
        .filter(({ key }) => !renewed.test(Buffer.from(key, 'base64').toString()))
        .map((entry) => [entry.key, entry]),
    );
  }

  async #ask(path: string, body: object): Promise<z.infer<typeof answerSchema>> {
    const response = await fetch(`http://127.0.0.1:${this.#port}/v3/kv/${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
    });
    if (!response.ok)
      throw new Error(`etcd answered ${response.status} to ${path}: ${await response.text()}`);
    return answerSchema.parse(await response.json());
  }
}

function encode(text: string): string {
  return Buffer.from(text).toString('base64');
}
