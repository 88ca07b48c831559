/**
 * A reader that spills appends what waits when it is more than this part of its bound, so that the rest can
 * fill up meanwhile. Apart from what spills, which not everybody loads.
 */
export const spillMark = 0.5;
