import type { ImageRepository } from '../../registry/image/repository.ts';
import type { Selector } from '../../registry/model/selector.ts';

/** An image: a place and a name in it. */
export interface ImageLocation {
  readonly repository: ImageRepository;
  readonly selector: Selector;
}
