import { headAsText } from '@spillway/server/audit/audit-chain';
import type { AuditProblem } from '@spillway/server/audit/audit-problem';
import type { AuditReport } from '@spillway/server/audit/verify-audit';
import { shown } from './shown.ts';

/** What `verify` found, for people: what is wrong first, then what is there, and what it could not tell. */
export function reportLines(path: string, report: AuditReport, hasHeads: boolean): string[] {
  const { before, erased, heads, problemCount, problems, pruned, prunedHeads, records, streams } = report;
  const more = problemCount - problems.length;
  return [
    ...problems.map(problemLine),
    ...(more > 0 ? [`and ${more} more`] : []),
    `${path}: ${counted(streams, 'stream')}, ${counted(records, 'record')}, ${counted(heads.length, 'chain')}: ${
      problemCount === 0 ? 'complete and unchanged' : counted(problemCount, 'problem')
    }`,
    ...(erased > 0 ? [`erased: ${counted(erased, 'stream')}, by records that say so`] : []),
    ...(pruned > 0
      ? [`pruned: ${counted(pruned, 'record')} from the beginning of chains, as a record says`]
      : []),
    ...before.map(
      (head) =>
        `before: another log had this name, and was moved or removed while it was written, at head ${shown(headAsText(head))}`,
    ),
    ...prunedHeads.map((head) => `pruned, and not compared: head ${headAsText(head)}`),
    ...heads.map((head) => `head ${headAsText(head)}`),
    ...(hasHeads
      ? []
      : [
          'No head was given (--head, --heads): that the newest records were removed since the last start of a writer, or that all was hashed anew, cannot be told.',
        ]),
  ];
}

function problemLine({ kind, message, n, seq, stream, writer }: AuditProblem): string {
  const place = [
    ...(writer === undefined ? [] : [`writer ${writer}`]),
    ...(n === undefined ? [] : [`record ${n}`]),
    ...(stream === undefined ? [] : [`stream ${shown(stream)}`]),
    ...(seq === undefined ? [] : [`seq ${seq}`]),
  ].join(', ');
  return `${kind}: ${place === '' ? '' : `${place}: `}${shown(message)}`;
}

function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}
