/**
 * What a promise resolves with, or an error that says for what a test waited in vain. The deadline is far beyond what it
 * needs: it ends a hang, and times nothing.
 */
export async function within<T>(promise: Promise<T>, what: string): Promise<T> {
  const deadlineMs = Number(globalThis.process?.env?.['TEST_DEADLINE_MS'] ?? 30_000);
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error(`waited ${deadlineMs} ms for ${what}`)), deadlineMs);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}
