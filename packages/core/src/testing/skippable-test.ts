/** The part of a test's context that a check needs. */
export interface SkippableTest {
  /** Marks the test as skipped. May throw. */
  skip(reason: string): unknown;
}

/** Stands for the context of a check that was given none: such a check proves its rule or rejects. */
export const withoutContext: SkippableTest = {
  skip(reason) {
    throw new Error(`not proved: ${reason}. Hand in the test's context to skip it.`);
  },
};
