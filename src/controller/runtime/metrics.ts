import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { RequestObserver } from './api/client.ts';
import type { QueueObserver, WorkQueue } from './work-queue.ts';

/** How a reconcile ended. */
export type ReconcileOutcome = 'success' | 'requeue_after' | 'error' | 'terminal';

/** The metrics of a controller. */
export interface ControllerMetrics {
  readonly queue: QueueObserver;
  /** Reports the queue's state whenever metrics are read. */
  follow(queue: WorkQueue): void;
  started(): void;
  ended(outcome: ReconcileOutcome, seconds: number): void;
}

/** The metrics of the runtime, by controller-runtime's names. */
export interface RuntimeMetrics {
  readonly onResponse: RequestObserver;
  controller(name: string, maxConcurrent: number): ControllerMetrics;
  /** Records whether this process leads. */
  leader(name: string, isLeader: boolean): void;
}

/** In seconds, from milliseconds to a minute. */
const reconcileBuckets = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 0.9, 1, 1.25, 1.5,
  1.75, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30, 40, 50, 60,
];
const queueBuckets = [1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10, 100, 1000];

/** Registers the metrics. Call it once per registry. */
export function createRuntimeMetrics(registry: Registry): RuntimeMetrics {
  const registers = [registry];
  const requests = new Counter({
    name: 'rest_client_requests_total',
    help: 'Requests to the API server, by code, host and method.',
    labelNames: ['code', 'host', 'method'] as const,
    registers,
  });
  const leading = new Gauge({
    name: 'leader_election_master_status',
    help: '1 if this process leads, 0 if not.',
    labelNames: ['name'] as const,
    registers,
  });
  const controllers = controllerMetrics(registers);
  return {
    onResponse: (labels) => requests.inc(labels),
    leader: (name, isLeader) => leading.set({ name }, isLeader ? 1 : 0),
    controller: controllers,
  };
}

function controllerMetrics(registers: Registry[]): RuntimeMetrics['controller'] {
  const labelNames = ['controller'] as const;
  const named = (name: string, help: string) => ({ name, help, labelNames, registers });
  const total = new Counter({
    name: 'controller_runtime_reconcile_total',
    help: 'Reconciles, by result.',
    labelNames: ['controller', 'result'] as const,
    registers,
  });
  const errors = new Counter(named('controller_runtime_reconcile_errors_total', 'Reconciles that failed.'));
  const terminal = new Counter(
    named(
      'controller_runtime_terminal_reconcile_errors_total',
      'Reconciles that failed and are not retried.',
    ),
  );
  const time = new Histogram({
    ...named('controller_runtime_reconcile_time_seconds', 'Duration of reconciles.'),
    buckets: reconcileBuckets,
  });
  const limit = new Gauge(
    named('controller_runtime_max_concurrent_reconciles', 'Maximum number of concurrent reconciles.'),
  );
  const active = new Gauge(named('controller_runtime_active_workers', 'Reconciles in progress.'));
  const observe = queueMetrics(registers);

  return (controller, maxConcurrent) => {
    const labels = { controller };
    limit.set(labels, maxConcurrent);
    active.set(labels, 0);
    for (const result of ['success', 'requeue_after', 'error']) total.inc({ controller, result }, 0);
    for (const counter of [errors, terminal]) counter.inc(labels, 0);
    return {
      ...observe(controller),
      started: () => active.inc(labels),
      ended(outcome, seconds) {
        active.dec(labels);
        time.observe(labels, seconds);
        total.inc({ controller, result: outcome === 'terminal' ? 'error' : outcome });
        if (outcome === 'error' || outcome === 'terminal') errors.inc(labels);
        if (outcome === 'terminal') terminal.inc(labels);
      },
    };
  };
}

function queueMetrics(
  registers: Registry[],
): (controller: string) => Pick<ControllerMetrics, 'queue' | 'follow'> {
  const labelNames = ['name', 'controller'] as const;
  const named = (name: string, help: string) => ({ name, help, labelNames, registers });
  const queues = new Map<string, WorkQueue>();
  const gauge = (name: string, help: string, read: (queue: WorkQueue) => number): void => {
    void new Gauge({
      ...named(name, help),
      collect() {
        for (const [controller, queue] of queues) this.set({ name: controller, controller }, read(queue));
      },
    });
  };
  gauge('workqueue_depth', 'Keys in the queue.', (queue) => queue.depth);
  gauge('workqueue_unfinished_work_seconds', 'Seconds of all work in progress.', (queue) =>
    queue.activeSeconds.reduce((sum, one) => sum + one, 0),
  );
  gauge('workqueue_longest_running_processor_seconds', 'Seconds of the longest work in progress.', (queue) =>
    Math.max(0, ...queue.activeSeconds),
  );
  const adds = new Counter(named('workqueue_adds_total', 'Keys added to the queue.'));
  const retries = new Counter(
    named('workqueue_retries_total', 'Keys added to the queue again after a failure.'),
  );
  const waited = new Histogram({
    ...named('workqueue_queue_duration_seconds', 'Time that keys spent in the queue.'),
    buckets: queueBuckets,
  });
  const worked = new Histogram({
    ...named('workqueue_work_duration_seconds', 'Time spent on processing keys.'),
    buckets: queueBuckets,
  });
  return (controller) => {
    const labels = { name: controller, controller };
    adds.inc(labels, 0);
    retries.inc(labels, 0);
    return {
      queue: {
        added: () => adds.inc(labels),
        retried: () => retries.inc(labels),
        taken: (seconds) => waited.observe(labels, seconds),
        worked: (seconds) => worked.observe(labels, seconds),
      },
      follow: (queue) => {
        queues.set(controller, queue);
      },
    };
  };
}
