import type { ProgressEvent } from '../../signer/model/report.ts';
import { count, formatBytes, printable, shortDigest } from './text.ts';

/** The line that an event deserves, or null: only what tells a reader of a log where the run stands. */
export function describeProgress(event: ProgressEvent): string | null {
  switch (event.type) {
    case 'resolved':
      return `Resolved ${printable(event.image)} to ${shortDigest(event.digest)}`;
    case 'platform':
      return event.platform === null
        ? null
        : `Platform ${printable(event.platform)} (${shortDigest(event.digest)})`;
    case 'layer-read':
      return `Read layer ${shortDigest(event.digest)} (${event.done} of ${event.total})`;
    case 'module-found':
      return null;
    case 'module-signed':
      return event.done < event.total ? null : `Signed ${count(event.total, 'module')}`;
    case 'layer-written':
      return `Wrote layer ${shortDigest(event.digest)} (${formatBytes(event.size)})`;
    case 'blob':
      return event.outcome === 'uploaded'
        ? `Uploaded ${shortDigest(event.digest)} (${formatBytes(event.size)})`
        : null;
    case 'verified':
      return `Verified ${count(event.modules, 'module')}`;
    case 'tagged':
      return `Tagged ${printable(event.image)}`;
  }
}
