import {
  GetObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { EngineUrlReader } from '@spillway/core/engine';
import { Connections } from '../service/connections.ts';
import { endpointOf, readServiceUrl } from '../service/service-url.ts';
import { nameOf, statusOf } from '../service/service-failure.ts';

const form = 's3://BUCKET/PREFIX';
const urls = new EngineUrlReader('S3', form);
const known = ['endpoint', 'maxObjectBytes', 'region'];
const objectForm = /^(\d{16})(?:-[0-9a-f]{16})?\.jsonl\.gz$/;

/** One object of records, as a listing has it. */
export interface ListedObject {
  readonly number: number;
  /** Its key without the prefix. */
  readonly name: string;
}

/** The objects of one prefix of a bucket, and the client that talks to it. */
export class S3Folder {
  /** For people. */
  readonly address: string;
  /** Whether it is AWS that answers, and not somebody who speaks like it. */
  readonly isAws: boolean;
  /** The most bytes of values in one object, before they are compressed, unless one value is larger. */
  readonly maxObjectBytes: number;
  readonly #client: S3Client;
  readonly #connections = new Connections(10);
  readonly #bucket: string;
  readonly #prefix: string;

  /** @throws {SpillwayError} `invalid_option`. */
  constructor(text: string) {
    const url = readServiceUrl(text, 's3', urls, known);
    if (!/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(url.host))
      throw urls.invalid('expected the name of a bucket: 3 to 63 of a-z 0-9 . -');
    const endpoint = endpointOf(url, urls);
    const region = url.parameters.get('region');
    this.#bucket = url.host;
    this.#prefix = url.path.map((part) => `${part}/`).join('');
    const at = endpoint === undefined ? '' : ` at ${new URL(endpoint).host}`;
    this.address = `s3://${[url.host, ...url.path].join('/')}${at}`;
    this.isAws = endpoint === undefined;
    this.maxObjectBytes = urls.whole(url.parameters, 'maxObjectBytes', 1024, 2 ** 30) ?? 67_108_864;
    const config: S3ClientConfig = {
      ...this.#connections.settings(60_000),
      ...(region === undefined ? {} : { region }),
      // Others have no host for each bucket.
      ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    };
    this.#client = new S3Client(config);
  }

  close(): void {
    this.#client.destroy();
  }

  /**
   * Writes an object. Resolves with whether it is written: not, if `onlyNew` is asked for, the store knows that, and there is
   * one of that name.
   */
  async put(
    name: string,
    body: Uint8Array,
    { contentType, onlyNew }: { readonly contentType: string; readonly onlyNew: boolean },
    signal: AbortSignal,
  ): Promise<boolean> {
    const command = new PutObjectCommand({
      Bucket: this.#bucket,
      Key: this.#prefix + name,
      Body: body,
      ContentType: contentType,
      ...(onlyNew && { IfNoneMatch: '*' }),
    });
    try {
      await this.#connections.onceMore(() => this.#client.send(command, { abortSignal: signal }), signal);
      return true;
    } catch (error) {
      if (onlyNew && statusOf(error) === 412) return false;
      throw error;
    }
  }

  /** Reads an object, or its first bytes; `undefined`: there is none. */
  async get(name: string, signal: AbortSignal, maxBytes?: number): Promise<Uint8Array | undefined> {
    const command = new GetObjectCommand({
      Bucket: this.#bucket,
      Key: this.#prefix + name,
      ...(maxBytes !== undefined && { Range: `bytes=0-${maxBytes - 1}` }),
    });
    try {
      return await this.#connections.onceMore(async () => {
        const { Body } = await this.#client.send(command, { abortSignal: signal });
        return Body?.transformToByteArray();
      }, signal);
    } catch (error) {
      if (nameOf(error) === 'NoSuchKey') return undefined;
      throw error;
    }
  }

  /** The objects of records whose names are behind another, in their order, a page at a time. */
  async *list(behind: string, signal: AbortSignal): AsyncGenerator<readonly ListedObject[], void> {
    let token: string | undefined;
    do {
      const command = new ListObjectsV2Command({
        Bucket: this.#bucket,
        Prefix: this.#prefix,
        StartAfter: this.#prefix + behind,
        ...(token !== undefined && { ContinuationToken: token }),
      });
      const { Contents = [], NextContinuationToken } = await this.#connections.onceMore(
        () => this.#client.send(command, { abortSignal: signal }),
        signal,
      );
      const page: ListedObject[] = [];
      for (const { Key = '' } of Contents) {
        const name = Key.slice(this.#prefix.length);
        const [, number] = objectForm.exec(name) ?? [];
        if (number !== undefined) page.push({ name, number: Number(number) });
      }
      yield page;
      token = NextContinuationToken;
    } while (token !== undefined);
  }
}

/** The beginning of the names that have a number. All of them are before `~`. */
export function numbered(number: number): string {
  return String(number).padStart(16, '0');
}
