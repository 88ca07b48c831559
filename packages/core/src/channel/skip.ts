import { SpillwayError } from '../errors.ts';
import { invalid } from '../invalid.ts';

/** Throws if a reader may not skip now, or not for that reason. */
export function checkSkip(reason: string, isInMerge: boolean): void {
  if (typeof reason !== 'string' || reason === '') {
    throw invalid(`skip: expected a reason, a text that is not empty, got ${JSON.stringify(reason)}.`);
  }
  if (isInMerge) {
    throw new SpillwayError(
      'merge_under_way',
      'skip was called by merge, or by what measures a merged chunk, while entries move. Call it when the merge is over.',
    );
  }
}
