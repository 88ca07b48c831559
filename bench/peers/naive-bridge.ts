// The bridge of fifty lines that samples have: what comes is passed on at once.
import { serveNaiveBridge } from '@spillway/voice/simulate/naive-bridge';

const [modelUrl = ''] = process.argv.slice(2);
const { url } = await serveNaiveBridge({ modelUrl, greeting: 'Say hello.' });
console.log(`listening on ${url}`);
