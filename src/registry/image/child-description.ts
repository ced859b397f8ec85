import type { Descriptor } from '../model/manifest.ts';

/** What a child of an index tells of another child: it speaks of one exact digest and is wrong about any other image. */
export interface ChildDescription {
  readonly what: 'attestation' | 'SOCI index';
  /** The digest that it speaks of; undefined when it does not say. */
  readonly subject: string | undefined;
}

/** SOCI indexes name the image in an annotation, and files in its layers by their compressed bytes (soci-snapshotter). */
const sociSubject = 'com.amazon.soci.image-manifest-digest';

/** What a child says of another one, by its descriptor; undefined when it stands for itself. It may still be an image. */
export function describedByChild({ annotations = {} }: Descriptor): ChildDescription | undefined {
  if (annotations['vnd.docker.reference.type'] !== undefined) {
    return { what: 'attestation', subject: annotations['vnd.docker.reference.digest'] };
  }
  const subject = annotations[sociSubject];
  return subject === undefined ? undefined : { what: 'SOCI index', subject };
}

/** Names of annotations that are about an image's unchanged bytes: they do not hold for a signed one. */
export function staleAnnotations(annotations: Readonly<Record<string, string>>): string[] {
  return Object.keys(annotations).filter((name) => name.startsWith('com.amazon.soci.'));
}
