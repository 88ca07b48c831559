/**
 * What happens to the model when its last reader has detached. `cancel`: the model is stopped at once. `grace`: it
 * goes on for `detachGraceMs`, in case a reader comes back. `finish`: it goes on to its end, within `finishMs` and
 * `finishEvents`.
 */
export type DetachPolicy = 'cancel' | 'finish' | 'grace';
