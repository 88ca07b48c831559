/** A straight line through samples. */
export interface Slope {
  /** Of the line, over the whole time of the samples. */
  readonly growth: number;
  /** Half of the interval in which that growth lies with 95 % confidence, as far as what varies has no memory. */
  readonly noise: number;
}

/** The line through values, by least squares; each has a time, in any unit. Needs four or more. */
export function slopeOf(samples: readonly { readonly at: number; readonly value: number }[]): Slope {
  const count = samples.length;
  const degrees = count - 2;
  if (degrees < 2) throw new Error(`expected 4 samples or more, got ${count}`);
  const meanAt = samples.reduce((sum, { at }) => sum + at, 0) / count;
  const meanValue = samples.reduce((sum, { value }) => sum + value, 0) / count;
  let squares = 0;
  let products = 0;
  for (const { at, value } of samples) {
    squares += (at - meanAt) ** 2;
    products += (at - meanAt) * (value - meanValue);
  }
  const slope = products / squares;
  const residuals = samples.reduce(
    (sum, { at, value }) => sum + (value - meanValue - slope * (at - meanAt)) ** 2,
    0,
  );
  const deviation = Math.sqrt(residuals / degrees / squares);
  const span = (samples.at(-1)?.at ?? 0) - (samples[0]?.at ?? 0);
  return { growth: slope * span, noise: quantileOfStudent(degrees) * deviation * span };
}

/** The 97.5 % quantile of Student's distribution, by the expansion of Cornish and Fisher: right to a hundredth from 3 on. */
function quantileOfStudent(degrees: number): number {
  return 1.96 + 2.372 / degrees + 2.823 / degrees ** 2 + 2.556 / degrees ** 3;
}
