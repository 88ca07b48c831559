import type { Served } from '../config/read-models.ts';
import type { Config } from '../config/schema.ts';
import { overloaded } from '@spillway/server/errors';
import { holderOf } from '@spillway/server/access/caller';
import { tooLarge } from '../http/receive-body.ts';
import { ReceivedBody } from '../http/received-body.ts';
import { firstNames, openScanner } from '../http/request-body.ts';
import { readTarget, targetRefusal } from '../http/request-target.ts';
import { findRoute, noSuchPath, pathPrefixes } from '../http/route.ts';
import type { RequestMemory } from '@spillway/server/memory/request-memory';
import type { SessionRequests } from '@spillway/server/session/session-requests';
import type { Limiter } from '../limit/limiter.ts';
import { readBudgetMs } from './latency-budget.ts';
import type { Pressure } from '../pressure/pressure.ts';
import { pressedRequest, yieldingRequest } from './pressed-request.ts';
import { readRelayRequest } from './relay-request.ts';
import type { Relay } from './relay.ts';

export interface RelaySessionRequestsOptions {
  readonly config: Pick<Config, 'maxRequestBytes' | 'maxRequestMemoryBytes'>;
  readonly memory: RequestMemory;
  /** What is served now. */
  readonly served: () => Served;
  readonly relay: Relay;
  /** Holds requests against limits; `undefined`: there are none. */
  readonly limiter: () => Limiter | undefined;
  readonly pressure: Pick<Pressure, 'active'>;
  /** Whether the tokens of prompts are counted. */
  readonly isCounted: () => boolean;
  /** Whether they are a part of conversations that have their own places among the streams of their tenants. Default: false. */
  readonly areWithin?: boolean;
}

/** Sends the requests of sessions to providers, as those by HTTP. */
export function relaySessionRequests({
  areWithin = false,
  config,
  isCounted,
  limiter,
  memory,
  pressure,
  relay,
  served,
}: RelaySessionRequestsOptions): SessionRequests {
  const maxBytes = Math.min(config.maxRequestBytes, memory.maxOwnerBytes);
  return {
    read({ headers, method, path }) {
      const target = readTarget(path);
      const route = findRoute(method, target ?? '/', headers);
      return {
        errors: route.errors,
        queryKey: route.queryKey,
        open(text, asker) {
          if (target === undefined) throw targetRefusal(path);
          if (!pathPrefixes.some((prefix) => route.path.startsWith(prefix))) {
            throw noSuchPath(`POST ${route.path}`);
          }
          const limits = limiter();
          // What is left of the requests in a second is nothing to one within a conversation; of tokens its lease finds out.
          const refused = areWithin ? undefined : limits?.refusal(asker.caller, { method, path: route.path });
          if (refused !== undefined) throw refused;
          const members = limits?.members ?? [];
          const body = Buffer.from(text);
          if (body.length > maxBytes) throw tooLarge(maxBytes);
          const contentType = headers['content-type'];
          const { active } = pressure;
          const now = served();
          const scanner = openScanner(route, contentType, firstNames(members), active?.members);
          const received = ReceivedBody.whole(body, scanner);
          const isEditable = active?.members !== undefined;
          const asked = readRelayRequest(
            { route, method, contentType, body: received, members, isCounted: isCounted(), isEditable },
            now,
          );
          const budgetMs = readBudgetMs(headers);
          const given = active?.giveWay(
            pressedRequest(asked, asker, {
              // A session has the pace of its credit.
              mergeMs: Infinity,
              limits,
              served: now,
            }),
          );
          if (given?.refusal !== undefined) throw given.refusal;
          const request = given === undefined ? asked : yieldingRequest(asked, given, now);
          const lease = limits?.lease({ ...request, isWithin: areWithin }, asker);
          const hold = memory.hold(holderOf(asker.caller, asker.address ?? ''));
          if (!hold.grow(body.length)) {
            hold.release();
            throw overloaded(
              `Request bodies hold ${config.maxRequestMemoryBytes} bytes (maxRequestMemoryBytes).`,
            );
          }
          asked.body.onRelease = hold.release;
          try {
            return relay.open(request, asker, { lease, budgetMs, gaveWay: given?.changed });
          } catch (error) {
            hold.release();
            throw error;
          }
        },
      };
    },
  };
}
