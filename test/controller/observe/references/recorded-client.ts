import { ApiClient } from '../../../../src/controller/runtime/api/client.ts';
import {
  createConnection,
  type Connection,
  loadConfig,
} from '../../../../src/controller/runtime/api/connection.ts';

/** A client whose calls are recorded. */
export interface RecordedClient {
  readonly client: ApiClient;
  /** Paths of single objects that were read. */
  readonly gets: readonly string[];
  /** What was watched: the resource and its field selector. */
  readonly watches: readonly string[];
  /** Watches that have not ended. */
  readonly openWatches: number;
  /** Holds lists back until the function that it gives is called. */
  holdLists(): () => void;
}

/** A client of a kubeconfig's cluster, as its user or as who a token stands for. */
export async function recordedClient(kubeconfig: string, token?: string): Promise<RecordedClient> {
  const config = await loadConfig(kubeconfig);
  if (token !== undefined) config.users = config.users.map((user) => ({ ...user, token }));
  const connection = createConnection(config);
  const [gets, watches]: [string[], string[]] = [[], []];
  let openWatches = 0;
  let listsMayPass = Promise.resolve();
  const send: Connection['send'] = async (request) => {
    const { pathname, searchParams } = new URL(request.path, 'https://server');
    if (searchParams.has('limit')) await listsMayPass;
    const response = await connection.send(request);
    if (searchParams.get('watch') === 'true') {
      watches.push(`${pathname.slice(pathname.lastIndexOf('/') + 1)} ${searchParams.get('fieldSelector')}`);
      openWatches += 1;
      response.once('close', () => (openWatches -= 1));
    } else if (!searchParams.has('limit')) {
      gets.push(pathname);
    }
    return response;
  };
  return {
    client: new ApiClient({
      connection: { ...connection, send },
      fieldManager: 'test',
      userAgent: 'kmm-sign-tests',
    }),
    gets,
    watches,
    get openWatches() {
      return openWatches;
    },
    holdLists() {
      const held = Promise.withResolvers<void>();
      listsMayPass = held.promise;
      return held.resolve;
    },
  };
}
