// The bridge of fifty lines that samples have: what comes is passed on at once.
import { serveNaiveBridge } from '../../packages/voice/src/simulate/naive-bridge.ts';

const [modelUrl = ''] = process.argv.slice(2);
const { url } = await serveNaiveBridge({ modelUrl, greeting: 'Say hello.', onCall: () => undefined });
console.log(`listening on ${url}`);
