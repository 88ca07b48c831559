import { DatabaseSync } from 'node:sqlite';
import { onTestFinished } from 'vitest';

/**
 * Keeps an audit log from being written, as another program that has its lock does: what is written to it waits, and then
 * fails. Returns what lets it go.
 */
export function holdLog(path: string): () => void {
  const db = new DatabaseSync(path, { timeout: 5000 });
  db.exec('BEGIN IMMEDIATE');
  let isHeld = true;
  const release = (): void => {
    if (isHeld) db.close();
    isHeld = false;
  };
  onTestFinished(release);
  return release;
}
