/**
 * What happens to the model when its last reader has gone: it is stopped at once (`cancel`); it goes on for `detachGraceMs`, in
 * case somebody comes back (`grace`); or it goes on to its end, within `finishMs` and `finishEvents` (`finish`).
 */
export type DetachPolicy = 'cancel' | 'finish' | 'grace';
