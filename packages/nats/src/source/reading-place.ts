import { headers } from '@nats-io/transport-node';
import { NatsFailure, NobodyAnswers } from '../connection/nats-failure.ts';
import {
  type JetStreamApi,
  JetStreamRefusal,
  streamNameInUse,
  streamNotFound,
  wrongLastSequence,
} from '../jetstream/jetstream-api.ts';

/** Messages of a stream: the number of the first one, and of the last one. */
export type Range = readonly [from: number, to: number];

/** Up to where a name has acknowledged. */
export interface Place {
  /** When the stream was made, as it says: another one of its name has other messages. */
  readonly created: string;
  /** All messages up to this one are acknowledged. */
  readonly seq: number;
  /** And these behind it. */
  readonly done: readonly Range[];
}

/** The bucket of NATS's key-value store. */
const bucket = 'spillway';
const maxTries = 5;

/**
 * Keeps places in the bucket `spillway`, under `STREAM.NAME`. A durable consumer has a place too, but its server moves it when
 * messages are purged, and whoever was away would not learn that some are missing.
 */
export class ReadingPlace {
  readonly #subject: string;
  /** The number of the message that has the place. */
  #at = 0;

  constructor(stream: string, name: string) {
    this.#subject = `$KV.${bucket}.${stream}.${name}`;
  }

  /** Reads it. `undefined`: the name is new. */
  async load(api: JetStreamApi, signal: AbortSignal): Promise<Place | undefined> {
    const found = await api
      .message({ last_by_subj: this.#subject }, signal, `KV_${bucket}`)
      .catch((error: unknown) => {
        if (error instanceof JetStreamRefusal && error.number === streamNotFound) return undefined;
        throw error;
      });
    this.#at = found?.seq ?? 0;
    // One that was deleted by hand has no content.
    if (found?.data === undefined || found.data === '') return undefined;
    return readPlace(Buffer.from(found.data, 'base64').toString());
  }

  /** Keeps it, unless one further on is kept already. The bucket is made, if there is none. */
  async save(api: JetStreamApi, place: Place, signal: AbortSignal): Promise<void> {
    const value = Buffer.from(JSON.stringify(place));
    for (let tries = 0; tries < maxTries; tries += 1) {
      const expected = headers();
      expected.set('Nats-Expected-Last-Subject-Sequence', String(this.#at));
      try {
        this.#at = (await api.publish(this.#subject, value, expected, signal)).seq;
        return;
      } catch (error) {
        if (error instanceof NobodyAnswers) {
          // No stream takes the place. The one that is read says how often it is kept, unless it is what is gone.
          await this.#makeRoom(api, (await api.streamInfo(signal)).config.num_replicas, signal);
          this.#at = 0;
          continue;
        }
        if (!(error instanceof JetStreamRefusal) || error.number !== wrongLastSequence) throw error;
        // One that was aborted has come after all, or another source has this name.
        const kept = await this.load(api, signal);
        if (kept?.created === place.created && kept.seq > place.seq) return;
      }
    }
    throw new NatsFailure(
      `${this.#subject}: another program acknowledges under the same name, or deletes the bucket.`,
    );
  }

  /** Makes the bucket, unless there is one. */
  async #makeRoom(api: JetStreamApi, replicas: number, signal: AbortSignal): Promise<void> {
    await api
      .createStream(
        {
          name: `KV_${bucket}`,
          subjects: [`$KV.${bucket}.>`],
          max_msgs_per_subject: 1,
          max_consumers: -1,
          max_msgs: -1,
          max_bytes: -1,
          discard: 'new',
          retention: 'limits',
          storage: 'file',
          num_replicas: replicas,
          allow_rollup_hdrs: true,
          deny_delete: true,
        },
        signal,
      )
      .catch((error: unknown) => {
        // There is one, made in another way.
        if (!(error instanceof JetStreamRefusal) || error.number !== streamNameInUse) throw error;
      });
  }
}

function readPlace(text: string): Place {
  try {
    const { created, done, seq } = JSON.parse(text) as Place;
    if (typeof created === 'string' && Number.isSafeInteger(seq) && Array.isArray(done))
      return { created, seq, done };
  } catch {
    // It is none, either.
  }
  throw new NatsFailure(`bucket ${bucket}: expected the place of a reader, got something else.`);
}
