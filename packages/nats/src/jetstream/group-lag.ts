import type { GroupLag } from '@spillway/core/engine';
import { NatsFailure } from '../connection/nats-failure.ts';
import { consumerNotFound, type JetStreamApi, JetStreamRefusal } from './jetstream-api.ts';

/** How far a consumer of the stream is behind. */
export async function groupLag(api: JetStreamApi, name: string, signal: AbortSignal): Promise<GroupLag> {
  const info = await api.consumerInfo(name, signal).catch((error: unknown) => {
    if (!(error instanceof JetStreamRefusal) || error.number !== consumerNotFound) throw error;
    throw new NatsFailure(
      `the stream ${api.stream} has no consumer ${name}: whoever reads makes it, or nats consumer add ${api.stream} ${name} --pull --deliver all --ack explicit --defaults`,
    );
  });
  const entries = info.num_pending + info.num_ack_pending;
  if (entries === 0) return { entries, ms: 0 };
  const from = info.num_ack_pending > 0 ? info.ack_floor.stream_seq : info.delivered.stream_seq;
  return { entries, ms: await ageBehind(api, from, info.config.filter_subject ?? '>', signal) };
}

/** How long ago the first message behind that number was written, in milliseconds. `undefined`: there is none. */
export async function ageBehind(
  api: JetStreamApi,
  seq: number,
  subject: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  const oldest = await api.message({ seq: seq + 1, next_by_subj: subject }, signal);
  return oldest === undefined ? undefined : Math.max(0, Date.now() - Date.parse(oldest.time));
}
