import type { Command } from 'commander';
import type * as Changes from './audit-changes.ts';
import type { EraseOptions, PruneOptions } from './audit-changes.ts';
import type * as Reads from './audit-reads.ts';
import { states } from './stream-states.ts';
import type { ExportOptions, ListOptions, ShowOptions, VerifyOptions } from './audit-reads.ts';

const from = [
  '--from <sink>',
  'the audit log, as a tap names it: sqlite:audit.db (default: that of the only such tap in spillway.yaml)',
] as const;

/** Adds `spillway audit`, with a command for each thing that is done with an audit log. */
export function addAudit(program: Command): void {
  const audit = program
    .command('audit')
    .description(
      'Read, verify, erase and prune an audit log that a tap has written (sqlite:). A gateway may write meanwhile.',
    );
  audit
    .command('list')
    .description(
      'List streams, the newest first: when, how it ended, tokens in and out, who, which model, and the id.',
    )
    .option(...from)
    .option('--tenant <name>', 'only of this tenant')
    .option('--caller <name>', 'only of this caller, as its key names it: clinic/web')
    .option('--model <name>', 'only with this model, as the client named it')
    .option('--request <id>', 'only that of this request: what its client got as x-spillway-request-id')
    .option('--state <state>', `only those: ${states.join(', ')}`)
    .option(
      '--since <time>',
      'only those that began since then: 2026-11-28, 2026-11-28T12:00:00Z, 12h or 30d',
    )
    .option('--limit <number>', 'so many at most', '50')
    .option('--json', 'print JSON, a line for each stream')
    .action(async (options: ListOptions) => (await reads()).listCommand(options));
  audit
    .command('show')
    .description(
      'Show one stream: who asked which model, what was answered, how it ended, and what each reader got.',
    )
    .argument('<id>', 'the id of the stream, or of the request that began it (x-spillway-request-id)')
    .option(...from)
    .option('--json', 'print the records themselves, a line each')
    .action(async (id: string, options: ShowOptions) => (await reads()).showCommand(id, options));
  audit
    .command('verify')
    .description(
      'Check that a log is complete and unchanged. Exits with 1 if it is not, and says what is missing, changed, added or reordered.',
    )
    .option(...from)
    .option(
      '--head <writer:count:hash>',
      'a head that was kept elsewhere, and has to be in the log; may be repeated',
      addTo,
      [],
    )
    .option('--heads <file>', "a file with heads, such as the program's own log")
    .option('--json', 'print JSON')
    .action(async (options: VerifyOptions) => (await reads()).verifyCommand(options));
  audit
    .command('export')
    .description('Print records as JSON, a line each, in the order in which they were written.')
    .option(...from)
    .option('--stream <id>', 'only of this stream, or of that which this request began')
    .option('--since <time>', 'only those that were made since then, as with list')
    .action(async (options: ExportOptions) => (await reads()).exportCommand(options));
  audit
    .command('erase')
    .description(
      'Erase what one stream or one person said and was answered. The rest can still be verified. This cannot be undone.',
    )
    .option(...from)
    .option('--stream <id>', 'this stream')
    .option('--tenant <name>', 'all streams of this tenant')
    .option('--caller <name>', 'with --tenant: only those of this caller, named as list shows it')
    .option('--yes', 'really')
    .action(async (options: EraseOptions) => (await changes()).eraseCommand(options));
  audit
    .command('prune')
    .description('Remove the oldest streams. The rest can still be verified. This cannot be undone.')
    .option(...from)
    .option('--older-than <duration>', 'streams with no record since: 90d, 12h')
    .option('--max-bytes <size>', 'the oldest that have ended, until the log has this size: 1g, 500MB')
    .action(async (options: PruneOptions) => (await changes()).pruneCommand(options));
}

// SQLite is loaded only by who needs it: with older versions of Node it comes with a warning.

async function reads(): Promise<typeof Reads> {
  process.removeAllListeners('warning');
  return await import('./audit-reads.ts');
}

async function changes(): Promise<typeof Changes> {
  process.removeAllListeners('warning');
  return await import('./audit-changes.ts');
}

function addTo(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}
