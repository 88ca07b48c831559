import type { AuditedStream } from '@spillway/server/audit/audit-reader';
import { shown, shownTime } from './shown.ts';

/** What stands above the lines. */
export const listHeader = columns('began', 'state', 'in', 'out', 'caller', 'model', 'stream');

/** A stream as one line; `~`: an estimate. Lines come before all of them are known, so that columns have fixed widths. */
export function listLine({
  caller,
  inputTokens,
  model,
  name,
  outputTokens,
  startedMs,
  state,
  tenant,
  usageSource,
}: AuditedStream): string {
  return columns(
    shownTime(startedMs),
    shown(state),
    numberOr(inputTokens),
    usageSource === 'estimated' && outputTokens !== null ? `~${outputTokens}` : numberOr(outputTokens),
    shownPerson(tenant, caller),
    shown(model ?? '-'),
    name,
  );
}

function columns(
  began: string,
  state: string,
  input: string,
  output: string,
  who: string,
  model: string,
  stream: string,
): string {
  const numbers = `${input.padStart(7)} ${output.padStart(7)}`;
  return `${began.padEnd(20)}  ${state.padEnd(11)} ${numbers}  ${who.padEnd(24)}  ${model.padEnd(32)}  ${stream}`;
}

function numberOr(tokens: number | null): string {
  return tokens === null ? '-' : String(tokens);
}

/**
 * Who asked, as `--caller` takes it: the name of a caller begins with its tenant (`clinic/web`), or is its tenant. A tenant that
 * is no part of the name stands behind it. `-` is a gateway without keys of clients.
 */
export function shownPerson(tenant: string | null, caller: string | null): string {
  const [of, name] = [shown(tenant ?? ''), shown(caller ?? '')];
  if (name === '') return of === '' ? '-' : of;
  return of === '' || name === of || name.startsWith(`${of}/`) ? name : `${name} (${of})`;
}
