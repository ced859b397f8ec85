// Formats the chart's README from its values and their comments.
import { isMap, isScalar, parseDocument } from 'yaml';

/** Values whose own fields belong to Kubernetes: their defaults are shown as a whole. */
const whole = new Set(['resources', 'affinity', 'tolerations', 'metricsFrom', 'apiServerPorts']);

const beginning = `# kmm-sign

This file is written by \`npm run docs\` from Chart.yaml and values.yaml.

`;

const middle = `
[docs/install.md](../../../docs/install.md) says how to install, configure, upgrade and remove it, and
[docs/migrating-from-kmm.md](../../../docs/migrating-from-kmm.md) how to come from KMM. Values that the chart does not know are refused;
those of KMM's chart with the name of ours.

## Values

`;

/** Returns the content of the README. */
export function formatChartReadme({ chart, values }) {
  const { description, kubeVersion, version, appVersion } = parseDocument(chart).toJS();
  const facts = `${description}\n\nChart ${version} of the operator ${appVersion}, for Kubernetes ${kubeVersion.replace('-0', '')}.\n`;
  const rows = rowsOf(parseDocument(values).contents).map((cells) => `| ${cells.join(' | ')} |`);
  const table = ['| Value | Default | Meaning |', '| --- | --- | --- |', ...rows].join('\n');
  return `${beginning}${facts}${middle}${table}\n`;
}

function rowsOf(map, path = '') {
  return map.items.flatMap(({ key, value }, index) => {
    const name = `${path}${key.value}`;
    // The comment before the first value of a map belongs to the map.
    const comment = key.commentBefore ?? (index === 0 ? map.commentBefore : undefined) ?? '';
    const meaning = comment
      .split('\n')
      .map((line) => line.trim())
      .join(' ')
      .replaceAll('|', '\\|');
    if (isMap(value) && value.items.length > 0 && !whole.has(key.value)) {
      return [[`\`${name}\``, '', meaning], ...rowsOf(value, `${name}.`)];
    }
    return [[`\`${name}\``, `\`${defaultOf(value)}\``, meaning]];
  });
}

function defaultOf(value) {
  return isScalar(value) ? JSON.stringify(value.value) : JSON.stringify(value.toJSON());
}
