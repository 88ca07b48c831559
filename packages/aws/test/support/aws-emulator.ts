import type { AddressInfo } from 'node:net';
import { buildApp } from 'fauxqs';
import { AwsFront } from './aws-front.ts';

/** As everybody else's program has them: from the environment. The emulator takes any. */
export const awsEnv = {
  AWS_ACCESS_KEY_ID: 'test',
  AWS_SECRET_ACCESS_KEY: 'test-secret',
  AWS_REGION: 'us-east-1',
};
Object.assign(process.env, awsEnv);

/** SQS and S3 as fauxqs has them, on a free port of loopback. */
export class AwsEmulator {
  readonly #app: ReturnType<typeof buildApp>;
  readonly port: number;

  private constructor(app: ReturnType<typeof buildApp>) {
    this.#app = app;
    this.port = (app.server.address() as AddressInfo).port;
  }

  static async start(): Promise<AwsEmulator> {
    const app = buildApp({ logger: false, defaultRegion: 'us-east-1' });
    await app.listen({ port: 0, host: '127.0.0.1' });
    return new AwsEmulator(app);
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** Something of ours before it, that breaks it. */
  front(): Promise<AwsFront> {
    return AwsFront.start(this.port);
  }

  async close(): Promise<void> {
    await this.#app.close();
  }
}
