/**
 * An engine of taps in a process of its own: emulators would take the time of the one that measures. Sends its URL to its
 * parent, does what it is told, and answers when that is done. Ends with its parent.
 */
import { tappedEngines } from '../../packages/gateway/test/support/tapped-engine.ts';

const [name] = process.argv.slice(2);
const kind = tappedEngines.find((each) => each.name === name);
if (kind === undefined || process.send === undefined) throw new Error(`expected the name of an engine`);
const engine = await kind.start();
process.on('message', (what) => {
  void (async () => {
    await (what === 'fail' ? engine.fail() : engine.heal());
    process.send?.('done');
  })();
});
process.once('disconnect', () => {
  void engine.remove().finally(() => process.exit());
});
process.send(engine.url);
