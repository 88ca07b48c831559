/**
 * A reader that spills appends its waiting chunks when they fill more than this part of its bound. The rest of the
 * bound can fill up meanwhile. In a file of its own, because not every program loads `spill.ts`.
 */
export const spillMark = 0.5;
