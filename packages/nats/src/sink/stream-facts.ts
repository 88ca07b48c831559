import type { Durability } from '@spillway/core';
import type { EngineFacts } from '@spillway/core/engine';
import { NatsFailure } from '../connection/nats-failure.ts';
import type { StreamConfig } from '../jetstream/jetstream-api.ts';

/** What a stream is worth to a sink. */
export interface StreamFacts extends EngineFacts {
  readonly grade: Durability;
  /** The stream removes its oldest messages to make room for new ones. */
  readonly isLossy: boolean;
}

/**
 * Says how well a stream keeps what it acknowledges, and never more than that.
 *
 * @throws {NatsFailure} when it does not keep what it acknowledges at all, or does not take the subjects.
 */
export function streamFacts(config: StreamConfig, prefix: string, version: string): StreamFacts {
  expectFit(config, prefix);
  const { num_replicas: replicas, storage } = config;
  const grade = replicas > 1 ? 'replicated' : 'memory';
  const medium =
    storage === 'file'
      ? 'files, which a server syncs to its disk every two minutes unless its sync_interval says otherwise, and it does not tell'
      : 'memory';
  return {
    grade,
    isLossy: config.discard === 'old' && limitsOf(config).length > 0,
    engine: `NATS ${version}`,
    durability: `The stream ${config.name} has ${replicas === 1 ? 'one replica' : `${replicas} replicas`} (num_replicas) in ${medium}.`,
    duplicates: `As long as the last message of each subject ${prefix}.STREAM is kept: every message names the number of the one before it (Nats-Expected-Last-Subject-Sequence), and a new sink reads the last one.`,
    warnings: warningsOf(config),
  };
}

/** Whether a pattern of subjects has room for all that another one has. */
function covers(pattern: string, subject: string): boolean {
  const wide = pattern.split('.');
  const narrow = subject.split('.');
  for (const [index, word] of wide.entries()) {
    if (word === '>') return narrow.length > index;
    const other = narrow[index];
    if (other === undefined || other === '>' || (word !== '*' && word !== other)) return false;
  }
  return wide.length === narrow.length;
}

function expectFit(config: StreamConfig, prefix: string): void {
  const { name, subjects = [name] } = config;
  const problems = [
    subjects.some((pattern) => covers(pattern, `${prefix}.*`)) ||
      `expected the subjects ${prefix}.*, got ${subjects.join(', ')}; add them, or name another one with subject=`,
    config.retention === 'limits' ||
      `expected the retention limits, got ${config.retention}: it removes what was read, and the sink would not know it again`,
    config.no_ack !== true || 'expected acknowledgements, got no_ack',
    config.sealed !== true || 'expected a stream that takes messages, got one that is sealed',
    config.mirror === undefined || 'expected a stream that takes messages, got a mirror',
  ];
  const problem = problems.find((each) => typeof each === 'string');
  if (problem !== undefined) throw new NatsFailure(`stream ${name}: ${problem}.`);
}

/** What makes a stream full. */
function limitsOf({
  max_bytes: bytes,
  max_msgs: messages,
  max_msgs_per_subject: perSubject = -1,
}: StreamConfig): readonly string[] {
  return [
    bytes > 0 && `max_bytes ${bytes}`,
    messages > 0 && `max_msgs ${messages}`,
    perSubject > 0 && `max_msgs_per_subject ${perSubject}`,
  ].filter((limit) => typeof limit === 'string');
}

function warningsOf(config: StreamConfig): readonly string[] {
  const { discard, max_age: ageNs, name, num_replicas: replicas, storage } = config;
  const limits = limitsOf(config);
  return [
    replicas === 1 &&
      (storage === 'file'
        ? `The stream ${name} has one replica: a power failure loses what was acknowledged since the last sync; num_replicas 3 survives the loss of a server.`
        : `The stream ${name} has one replica in memory: a restart of the server loses all of it.`),
    replicas > 1 &&
      storage !== 'file' &&
      `The stream ${name} is in memory: a restart of all its servers loses all of it.`,
    discard === 'old' &&
      limits.length > 0 &&
      `The stream ${name} removes its oldest messages when it is full (${limits.join(', ')}, discard old): whoever has not read them gets a gap. With discard new the sink waits instead.`,
    ageNs > 0 &&
      `The stream ${name} removes messages after ${Math.round(ageNs / 1e9)} s (max_age): whoever has not read them gets a gap.`,
  ].filter((warning) => typeof warning === 'string');
}
