import type { RecordSink } from '../sink/record-sink.ts';

/** What an engine says of itself, for people: in the log, on the console and in `spillway check`. */
export interface EngineFacts {
  /** The product and its version as far as it tells, such as `Redis 7.0.15`. */
  readonly engine: string;
  /** Why `durability` is what it is: one sentence with the engine's own setting, such as `appendfsync is everysec`. */
  readonly durability: string;
  /** For how long, and by what, the engine knows a record that is written again: one sentence. */
  readonly duplicates: string;
  /** What whoever runs the engine should know or change: one sentence each. */
  readonly warnings: readonly string[];
  /** Of a trial: what of the rights to write only a write would tell, in a sentence. Absent: they were tried. */
  readonly untried?: string | undefined;
  /**
   * The engine was found without records that it had acknowledged while this sink was open: how often that was seen, and what was
   * seen last, in a sentence. Absent: it was not seen. An engine may lose records unseen, too.
   */
  readonly forgot?: { readonly times: number; readonly why: string } | undefined;
}

/** How far a group of readers of the engine is behind. */
export interface GroupLag {
  /** The entries that the group has not acknowledged; `undefined`: the engine cannot tell. */
  readonly entries: number | undefined;
  /** How long ago the oldest of them was written, in milliseconds; `undefined`: the engine cannot tell. */
  readonly ms: number | undefined;
}

/**
 * A sink whose engine is a server: it can be asked what it is, and how far its readers are behind. Every engine's package
 * gives one, opened by the engine's URL.
 */
export interface EngineSink extends RecordSink {
  /** Where the engine is, without user, password and other secrets. */
  readonly address: string;
  /**
   * As the engine said when it was opened or last connected to. With each write that begins more than 5 s after that the engine
   * is asked again first, where it can become less while it is connected: `durability` and `isLossy` are then what it says.
   */
  readonly facts: EngineFacts;
  /**
   * The engine was asked to remove its oldest records by itself, read or not, as `maxlen` of Redis does: a tap that gates or
   * is lossless is none for it. Absent: it was not.
   */
  readonly isLossy?: boolean;
  /**
   * How far a group of readers is behind: a consumer group of Redis or Kafka, a durable consumer of JetStream; what a name
   * means is the engine's. Absent: the engine has no readers of its own.
   *
   * @throws {SpillwayError} `sink_failed` when the engine is away or knows no such group; the signal's reason.
   */
  lagOf?(group: string, signal: AbortSignal): Promise<GroupLag>;
}

/** How the sink of an engine is opened: what every engine has. */
export interface EngineSinkOptions {
  /** Where the engine is and what is written there, as the engine's page says. May have user and password. */
  readonly url: string;
  /** A password that is not to stand in the URL. Default: that of the URL. */
  readonly password?: string | undefined;
  /** How long the opening may take, with TLS and login, in milliseconds: 1 to 2^31 − 1. Default: 5000. */
  readonly openTimeoutMs?: number;
  /**
   * The largest value of one entry, in bytes; larger records are split into parts. 1024 or more. Default: what the engine
   * takes.
   */
  readonly maxEntryBytes?: number;
  /**
   * Whether the sink is opened to ask alone: nothing may be written by the sink, and nothing is made in the engine. What an
   * opening would make, such as a table, is in `facts.warnings`. Where only a write tells what the engine does, an opening writes
   * the same: S3's empty manifest. Default: `false`.
   */
  readonly isTrial?: boolean;
}
