/** The result of one check. */
export interface Finding {
  readonly check: string;
  /** `warn`: the gateway works, perhaps not as it is meant. `fail`: it does not start, or requests fail. */
  readonly status: 'fail' | 'ok' | 'warn';
  /** What was found and, unless it is `ok`, what to do. */
  readonly message: string;
}

/** A result without the name of its check. */
export type Judgement = Omit<Finding, 'check'>;

/** Findings as text, one a line. */
export function findingsAsText(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ check }) => check.length));
  return findings
    .map(({ check, message, status }) => `${status.padEnd(4)}  ${check.padEnd(width)}  ${message}\n`)
    .join('');
}

/** Findings for programs. */
export function findingsAsJson(findings: readonly Finding[]): string {
  return `${JSON.stringify(findings, undefined, 2)}\n`;
}
