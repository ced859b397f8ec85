import * as z from 'zod';
import { parseNodeLabel } from '../../builder/labels.ts';
import { printable } from '../../shared/printable.ts';
import type { CustomResource } from '../observe/cluster/resources.ts';
import { formatKey } from '../runtime/api/object-key.ts';
import type { Collector } from './collector.ts';
import type { GatherPlan } from './plan.ts';
import { nameOf, type Problem } from './problems.ts';

/** Warnings that are listed. */
const maxWarnings = 50;

const text = z.string().catch('');
const condition = z.looseObject({ type: text, status: text, reason: text, message: text });
const ownStatus = z.looseObject({ conditions: z.array(condition).catch([]) }).catch({ conditions: [] });
const nodeFacts = z.looseObject({
  spec: z
    .looseObject({ taints: z.array(z.looseObject({ key: text, effect: text })).catch([]) })
    .catch({ taints: [] }),
  status: z
    .looseObject({
      conditions: z.array(condition).catch([]),
      nodeInfo: z.looseObject({ kernelVersion: text, architecture: text, bootID: text }),
    })
    .catch({ conditions: [], nodeInfo: { kernelVersion: '', architecture: '', bootID: '' } }),
});
const eventFacts = z.looseObject({
  type: text,
  reason: text,
  message: text,
  involvedObject: z
    .looseObject({ kind: text, namespace: text, name: text })
    .catch({ kind: '', namespace: '', name: '' }),
});

export interface SummaryFacts {
  readonly plan: GatherPlan;
  readonly problems: readonly Problem[];
  readonly operatorNamespaces: readonly string[];
  /** Lines about versions. */
  readonly versions: Readonly<Record<string, string>>;
}

/** Writes the summary: what is wrong first, then what there is, then what could not be had. */
export function writeSummary(collector: Collector, facts: SummaryFacts): string {
  const { plan, problems, operatorNamespaces, versions } = facts;
  const own = [...collector.all()]
    .filter(([group]) => group === plan.ownGroup)
    .flatMap(([, , objects]) => objects);
  return [
    '# Summary',
    list(
      Object.entries({ ...versions, 'Operator in': operatorNamespaces.join(', ') || 'not found' }).map(
        ([name, value]) => `${name}: ${line(value)}`,
      ),
    ),
    '## What is wrong',
    list(
      unique(problems.map(({ object, message }) => `**${line(object)}**: ${line(message)}`)),
      'Nothing was found.',
    ),
    '## Resources',
    table(['Object', 'Ready', 'Reason', 'Message'], own.map(ownRow)),
    '## Nodes',
    table(
      ['Node', 'Ready', 'Kernel', 'Architecture', 'Boot ID', 'Taints', 'Modules loaded'],
      collector.objects('', 'nodes').map(nodeRow),
    ),
    '## Warnings',
    list(warnings(collector.objects('', 'events')), 'There are no events of type Warning.'),
    '## What could not be gathered',
    list(
      collector.failures.map(({ what, reason }) => `${line(what)}: ${line(reason)}`),
      'Nothing was refused.',
    ),
  ]
    .join('\n\n')
    .concat('\n');
}

function ownRow(object: CustomResource): string[] {
  const ready = ownStatus.parse(object.status ?? {}).conditions.find(({ type }) => type === 'Ready');
  return [nameOf(object), ready?.status ?? '', ready?.reason ?? '', ready?.message ?? ''];
}

function nodeRow(object: CustomResource): string[] {
  const { spec, status } = nodeFacts.parse(object);
  const { kernelVersion, architecture, bootID } = status.nodeInfo;
  const loaded = Object.keys(object.metadata.labels ?? {}).flatMap((key) => {
    const label = parseNodeLabel(key);
    return label?.kind === 'ready' ? [label.stem] : [];
  });
  return [
    object.metadata.name,
    status.conditions.find(({ type }) => type === 'Ready')?.status ?? 'Unknown',
    kernelVersion,
    architecture,
    bootID,
    spec.taints.map(({ key, effect }) => `${key}:${effect}`).join(', '),
    loaded.toSorted().join(', '),
  ];
}

function warnings(events: readonly CustomResource[]): string[] {
  const found = events.flatMap((event) => {
    const { type, reason, message, involvedObject } = eventFacts.parse(event);
    const { kind, namespace, name } = involvedObject;
    const about = formatKey(namespace === '' ? { name } : { namespace, name });
    return type === 'Warning' ? [`**${line(`${kind} ${about}`)}**: ${line(reason)}: ${line(message)}`] : [];
  });
  const all = unique(found).toSorted();
  return all.length <= maxWarnings
    ? all
    : [...all.slice(0, maxWarnings), `and ${all.length - maxWarnings} more: see the events in namespaces/`];
}

function unique(lines: readonly string[]): string[] {
  return [...new Set(lines)];
}

function list(lines: readonly string[], none = ''): string {
  return lines.length === 0 ? none : lines.map((one) => `- ${one}`).join('\n');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return 'There are none.';
  return [head, head.map(() => '---'), ...rows].map(tableRow).join('\n');
}

function tableRow(cells: readonly string[]): string {
  return `| ${cells.map(line).join(' | ')} |`;
}

/** Makes text from objects fit for a line or a cell of Markdown. */
function line(value: string): string {
  return printable(value.replaceAll(/\s+/g, ' ').trim()).replaceAll('|', String.raw`\|`);
}
