import { gunzipSync } from 'node:zlib';
import { GetObjectCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { openS3Sink } from '@spillway/aws';
import type { SinkRecord } from '@spillway/core';
import type { EngineSink } from '@spillway/core/engine';
import type { SinkEngine } from '@spillway/core/testing';
import { AwsFront } from './aws-front.ts';

let folders = 0;

/** A prefix of its own, behind something that breaks its store. */
export class S3Engine implements SinkEngine {
  readonly front: AwsFront;
  readonly url: string;
  readonly #client: S3Client;
  readonly #prefix: string;

  private constructor(front: AwsFront, port: number, parameters: string) {
    folders += 1;
    this.#prefix = `folder-${folders}/`;
    this.front = front;
    this.url = `s3://records/folder-${folders}?region=us-east-1&endpoint=${front.url}${parameters}`;
    this.#client = new S3Client({ endpoint: `http://127.0.0.1:${port}`, forcePathStyle: true });
  }

  static async create(port: number, parameters = ''): Promise<S3Engine> {
    return new S3Engine(await AwsFront.start(port), port, parameters);
  }

  open(): Promise<EngineSink> {
    // A machine that is busy is slow, and is no store that fails.
    return openS3Sink({ url: this.url, openTimeoutMs: 60_000 });
  }

  /** As anybody finds them who reads all objects in the order of their names: with what is there twice. */
  async records(): Promise<readonly SinkRecord[]> {
    const found: SinkRecord[] = [];
    for (const key of await this.keys()) {
      const bytes = await this.get(key);
      const plain = gunzipSync(bytes);
      let at = plain.indexOf('\n') + 1;
      const head = JSON.parse(plain.subarray(0, at).toString()) as { runs: [string, number, number[]][] };
      for (const [stream, first, lengths] of head.runs) {
        for (const [index, length] of lengths.entries()) {
          found.push({ stream, seq: first + index, value: plain.subarray(at, at + length) });
          if (plain[at + length] !== 10) throw new Error('expected a line end behind each value');
          at += length + 1;
        }
      }
    }
    return found;
  }

  async keys(): Promise<string[]> {
    const keys: string[] = [];
    let token: string | undefined;
    do {
      const page = await this.#client.send(
        new ListObjectsV2Command({
          Bucket: 'records',
          Prefix: this.#prefix,
          ...(token !== undefined && { ContinuationToken: token }),
        }),
      );
      keys.push(...(page.Contents ?? []).flatMap(({ Key }) => (Key?.endsWith('.gz') ? [Key] : [])));
      token = page.NextContinuationToken;
    } while (token !== undefined);
    return keys;
  }

  async get(key: string): Promise<Uint8Array> {
    const { Body } = await this.#client.send(new GetObjectCommand({ Bucket: 'records', Key: key }));
    if (Body === undefined) throw new Error(`expected ${key}`);
    return Body.transformToByteArray();
  }

  fail(): void {
    this.front.fail();
  }

  hang(): void {
    this.front.hang();
  }

  heal(): Promise<void> {
    return this.front.heal();
  }

  openCount(): Promise<number> {
    return this.front.openCount();
  }

  async remove(): Promise<void> {
    await this.front.close();
    this.#client.destroy();
  }
}
