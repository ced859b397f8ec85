/** What a Module refers to by name. */
export type ReferenceKind = 'dockerfile' | 'certificate' | 'pull-secret' | 'service-account';

/** Names an object in a namespace. */
export interface NamespacedKey {
  readonly namespace: string;
  readonly name: string;
}

/** An object that a Module refers to, and what for. */
export interface Reference {
  readonly kind: ReferenceKind;
  readonly key: NamespacedKey;
}
