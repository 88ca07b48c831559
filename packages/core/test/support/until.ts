/** Resolves when something is so; rejects with `what` when it is not in time, which is far beyond what it needs. */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  what: string | (() => string) = isSo.toString(),
  ms = 20_000,
): Promise<void> {
  const endMs = performance.now() + ms;
  while (!(await isSo())) {
    if (performance.now() > endMs)
      throw new Error(`expected within ${ms} ms: ${typeof what === 'string' ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}
