import type { LogFields, LogLevel } from '../../shared/logger.ts';
import { count, printable } from '../../shared/printable.ts';

/** Formats bytes for people: `512 B`, `3.4 MB` (powers of ten, as registries count). */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}

/** Shortens a digest to its first digits, enough for people to tell two apart. */
export function shortDigest(digest: string): string {
  const colon = digest.indexOf(':');
  return digest.slice(0, colon + 13);
}

/** How lines on stderr are formatted. */
export type LogFormat = 'text' | 'json';

/** Formats a log entry for people. */
export function textLine(level: LogLevel, message: string, fields: LogFields = {}): string {
  const facts = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${typeof value === 'string' ? value : JSON.stringify(value)}`);
  const label = level === 'warn' ? 'warning' : level;
  return printable([`${label}: ${message}`, ...facts].join(' '));
}

/** Aligns columns, with two spaces between them; the last column is not padded. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    });
  }
  return rows.map((row) => tableLine(row, widths)).join('\n');
}

function tableLine(row: readonly string[], widths: readonly number[]): string {
  const last = row.length - 1;
  return row
    .map((cell, column) => (column === last ? cell : cell.padEnd(widths[column] ?? 0)))
    .join('  ')
    .trimEnd();
}

/** The most digests printed of layers that were not read. */
const maxNamedLayers = 3;

/** Describes which layers were not read. */
export function layersNotReadText(layers: readonly string[]): string {
  const named = layers.slice(0, maxNamedLayers).map(shortDigest).join(', ');
  const more = layers.length > maxNamedLayers ? `, and ${layers.length - maxNamedLayers} more` : '';
  return `Not read, since they cannot change the result: ${count(layers.length, 'layer')} (${named}${more})`;
}
