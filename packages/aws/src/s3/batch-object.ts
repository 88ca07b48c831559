import { constants, gunzip, gzip } from 'node:zlib';
import { promisify } from 'node:util';
import type { SinkRecord } from '@spillway/core';

/** Records of one stream with numbers that follow each other: their stream, the first number, the bytes of each value. */
type Run = readonly [stream: string, firstSeq: number, bytes: readonly number[]];

/** The first line of an object: what the others are. */
export interface BatchHead {
  /** The version of the format: 1. */
  readonly spillway: 1;
  /** Who has written it: one sink, from its opening to its close. */
  readonly writer: string;
  /** The object's number. */
  readonly number: number;
  /** In the order of the lines. */
  readonly runs: readonly Run[];
}

const pack = promisify(gzip);
const unpack = promisify(gunzip);
const lineEnd = Buffer.from('\n');

/** Makes the bytes of an object: a line of JSON that says what is in it, and the values, each with a line end behind it. */
export async function encodeBatch(
  writer: string,
  number: number,
  records: readonly SinkRecord[],
): Promise<Buffer> {
  const runs: [string, number, number[]][] = [];
  for (const { seq, stream, value } of records) {
    const last = runs.at(-1);
    if (last !== undefined && last[0] === stream && last[1] + last[2].length === seq)
      last[2].push(value.byteLength);
    else runs.push([stream, seq, [value.byteLength]]);
  }
  const head: BatchHead = { spillway: 1, writer, number, runs };
  return pack(
    Buffer.concat([
      Buffer.from(`${JSON.stringify(head)}\n`),
      ...records.flatMap(({ value }) => [value, lineEnd]),
    ]),
  );
}

/** The records of an object. Their values are views of one buffer. */
export async function decodeBatch(bytes: Uint8Array): Promise<SinkRecord[]> {
  const plain = await unpack(bytes);
  const headEnd = plain.indexOf(10);
  const { runs } = parseHead(plain.subarray(0, headEnd));
  let at = headEnd + 1;
  const records: SinkRecord[] = [];
  for (const [stream, firstSeq, lengths] of runs) {
    for (const [index, length] of lengths.entries()) {
      records.push({ stream, seq: firstSeq + index, value: plain.subarray(at, at + length) });
      at += length + 1;
    }
  }
  if (at !== plain.length) throw new Error(`expected ${at} bytes of records, got ${plain.length}`);
  return records;
}

/** The head of an object of which these are the first bytes, or all; `undefined`: it is longer. */
export async function decodeHead(bytes: Uint8Array): Promise<BatchHead | undefined> {
  const plain = await unpack(bytes, { finishFlush: constants.Z_SYNC_FLUSH });
  const headEnd = plain.indexOf(10);
  return headEnd === -1 ? undefined : parseHead(plain.subarray(0, headEnd));
}

function parseHead(line: Buffer): BatchHead {
  const head = JSON.parse(line.toString()) as Partial<BatchHead>;
  if (head.spillway !== 1 || !Array.isArray(head.runs)) throw new Error('expected an object of version 1');
  return head as BatchHead;
}
