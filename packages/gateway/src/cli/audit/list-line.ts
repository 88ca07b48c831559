import type { AuditedStream } from '@spillway/server/audit/audit-reader';
import { shown, shownTime } from './shown.ts';

/** What stands above the lines. */
export const listHeader = columns('began', 'state', 'in', 'out', 'caller', 'model', 'stream');

/** A stream as one line. Lines come before all of them are known, so that columns have fixed widths. */
export function listLine({
  caller,
  inputTokens,
  model,
  name,
  outputTokens,
  startedMs,
  state,
  tenant,
}: AuditedStream): string {
  return columns(
    shownTime(startedMs),
    shown(state),
    numberOr(inputTokens),
    numberOr(outputTokens),
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

/** Who asked: `-` is a gateway without keys of clients. */
export function shownPerson(tenant: string | null, caller: string | null): string {
  const names = [tenant, caller]
    .filter((name) => name !== null && name !== '')
    .map((name) => shown(name ?? ''));
  return names.length === 0 ? '-' : names.join('/');
}
