import type { SpokenPart } from '@spillway/core/audio';
import { Filler } from './filler.ts';

/** What is said at the end is no model's. */
export const farewellPart: SpokenPart = { itemId: 'spillway_farewell', contentIndex: 0 };

/** Whether a part is none of a model's. */
export function isOurs(part: SpokenPart): boolean {
  return Filler.is(part) || part.itemId === farewellPart.itemId;
}
