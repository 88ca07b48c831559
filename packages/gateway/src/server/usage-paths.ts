import type { FastifyInstance } from 'fastify';
import { callerOf } from '@spillway/server/access/caller';
import { GatewayError } from '@spillway/server/errors';
import type { UsageReport } from '../limit/usage-report.ts';
import { noQuery, readQuery } from './admin-query.ts';

/** Adds the path at which a tenant sees what it has used of its limits, and what that cost. */
export function addOwnUsage(server: FastifyInstance, reportNow: () => UsageReport | undefined): void {
  server.get('/usage', async ({ query, raw }) => {
    readQuery(noQuery, query);
    const report = reportNow();
    if (report === undefined)
      throw new GatewayError(
        'not_found',
        'This gateway counts no use: it has neither limits nor prices (tenant, price).',
      );
    const { owner, tenant } = callerOf(raw);
    return report.of(tenant, owner ?? '');
  });
}
