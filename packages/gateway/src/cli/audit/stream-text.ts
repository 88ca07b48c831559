import type { AuditedRecord, AuditedStream } from '@spillway/server/audit/audit-reader';
import { parseRecord, type TapRecord } from '@spillway/server/tap/tap-record';
import { AnswerText } from './answer-text.ts';
import { ConversationText } from './conversation-text.ts';
import { shownPerson } from './list-line.ts';
import { shown, shownTime } from './shown.ts';

/** One stream for people, line by line: who asked, what was answered, how it ended, what each reader got. */
export function* streamText(stream: AuditedStream, records: Iterable<AuditedRecord>): Generator<string> {
  const answer = new AnswerText();
  let conversation: ConversationText | undefined;
  yield field('stream', stream.name);
  yield field('state', stream.state);
  const readers: string[] = [];
  const notes: string[] = [];
  let gone = 0;
  for (const record of records) {
    const told = read(record);
    if (told === undefined) {
      gone += 1;
      continue;
    }
    if (told.kind === 'answer' && told.format === 'conversation') conversation = new ConversationText();
    if (told.kind === 'chunks') (conversation ?? answer).add(told);
    else if (told.kind === 'answer') answer.begin(told.format);
    if (told.kind === 'reader') readers.push(readerLine(told));
    else if (told.kind === 'gap')
      notes.push(field('gap', `chunks ${told.from} to ${told.to} were dropped: ${shown(told.reason)}`));
    else yield* linesOf(told);
  }
  if (gone > 0)
    yield field(
      'records',
      `${gone} cannot be read: ${stream.state === 'erased' ? 'they were erased' : 'verify says why'}`,
    );
  yield* notes;
  for (const [place, text] of answer.end()) yield* ['', place, shown(text, true)];
  if (conversation !== undefined) yield '';
  for (const [who, words] of conversation?.end() ?? []) yield field(who, words);
  if (readers.length > 0) yield '';
  yield* readers;
}

function* linesOf(record: TapRecord): Generator<string> {
  if (record.kind === 'begin') {
    const { address, agent, api, at, caller, gaveWay, model, provider, request, requestId, tenant } = record;
    yield field('began', shownTime(at, true));
    yield field('caller', `${shownPerson(tenant, caller)}, from ${shown(address)}, ${shown(agent)}`);
    yield field('model', `${shown(model ?? '-')}, by ${shown(provider)} (${shown(api)})`);
    if (requestId !== undefined) yield field('request', shown(requestId));
    if (gaveWay !== undefined) yield field('gave way', shown(gaveWay.join(', ')));
    if (request !== undefined) yield* ['', 'request', shown(contentOf(request), true), ''];
  } else if (record.kind === 'answer') {
    const { format, status, upstreamRequestId } = record;
    yield field(
      'answer',
      `${status}, ${format ?? 'no events'}${upstreamRequestId === undefined ? '' : `, ${shown(upstreamRequestId)}`}`,
    );
  } else if (record.kind === 'end') {
    const { at, bytes, code, durationMs, events, reason, usage } = record;
    yield field('ended', `${shownTime(at, true)}, after ${durationMs} ms: ${events} events, ${bytes} bytes`);
    if (code !== undefined) yield field('code', `${shown(code)}: ${shown(reason ?? '')}`);
    if (usage !== undefined)
      yield field(
        'tokens',
        `${usage.inputTokens ?? '-'} in, ${usage.outputTokens ?? '-'} out (${usage.source})`,
      );
  }
}

function readerLine({
  acknowledged,
  address,
  code,
  delivered,
  lost,
  reader,
  reason,
  via,
}: TapRecord & { kind: 'reader' }): string {
  const said = acknowledged === null ? 'which cannot acknowledge' : `acknowledged to ${acknowledged}`;
  const why = code === undefined ? reason : `${reason} (${shown(code)})`;
  const gap = lost === 0 ? '' : `, ${lost} tokens dropped`;
  return field(
    'reader',
    `${reader}, ${shown(via)} from ${shown(address)}: ${why}, delivered to ${delivered}, ${said}${gap}`,
  );
}

function contentOf({
  bytes,
  data,
  encoding,
  sha256,
}: NonNullable<(TapRecord & { kind: 'begin' })['request']>): string {
  if (data === undefined)
    return `(${bytes ?? '?'} bytes that are not kept${sha256 === undefined ? '' : `, SHA-256 ${sha256}`})`;
  return encoding === 'base64' ? `(base64) ${data}` : data;
}

function field(name: string, value: string): string {
  return `${name.padEnd(9)}${value}`;
}

/** `undefined`: it is gone, or of a version that this one does not know. */
function read({ value }: AuditedRecord): TapRecord | undefined {
  if (value === undefined) return undefined;
  try {
    return parseRecord(value);
  } catch {
    return undefined;
  }
}
