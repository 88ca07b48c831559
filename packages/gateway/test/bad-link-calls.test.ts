import { expect, onTestFinished, test } from 'vitest';
import { needs } from '../../core/test/support/needs.ts';
import { type BadLinkCall, callOverBadLink } from './support/bad-link-calls.ts';
import { canMakeBadLinks } from './support/bad-link.ts';
import { delaysOf, longestDelayMs } from './support/link-delays.ts';
import { startGateway } from './support/processes.ts';
import { sharedNowMs } from './support/timed-pipe.ts';

/** The bounds of a call's queues, in seconds, by their place in the metrics. */
const bounds = {
  in_waiting: 5,
  in_unconfirmed: 1,
  in_socket: 1,
  out_waiting: 120,
  out_unconfirmed: 0.8,
  out_socket: 0.8,
} as const;
/** A link that takes so long there and back leaves less than 200 ms of a window of 800, and of the 160 between two marks. */
const straitenedMs = 450;
/** The gateway's own model waits for 500 ms of silence, and thinks for 300. */
const modelMs = 800;

test('promise 23: on a link of 100 ms and 5 % loss each way, queues stay within their bounds, and nothing is missing that the link did not hold back', async (context) => {
  needs(context, await canMakeBadLinks(), 'Linux, root, iproute2, vde2 and vde-wirefilter');
  const gateway = await startGateway(['--voice', 'simulated']);
  const watched = watchGateway(gateway.adminUrl);
  const callers = {
    port: Number(new URL(gateway.url).port),
    path: '/voice/twilio',
    calls: 5,
    turns: 3,
    listenMs: 2500,
  };
  const calling = [50, 100].map((delayMs, index) =>
    callOverBadLink({ ...callers, filter: ['-d', `${delayMs}`, '-l', '5'], index }),
  );
  // Neither link outlives the test when the other one fails.
  await Promise.allSettled(calling);
  const [near = [], far = []] = await Promise.all(calling);
  for (const call of [...near, ...far]) {
    expect(call.refusals).toEqual([]);
    expect(call.end).toBe('hung_up');
    expect(call.maxBufferedMs).toBeLessThanOrEqual(800.5);
    expect(call.figures.interruptions.length).toBeGreaterThan(0);
    for (const { atMs, ms, roundTripMs } of call.gaps.filter(({ wasOnItsWay }) => !wasOnItsWay)) {
      const endMs = call.startedMs + atMs + ms;
      const heldMs = roundTripMs + watched.slowestMs(endMs - 2000, endMs);
      expect(heldMs, `a gap of ${ms} ms at ${atMs}`).toBeGreaterThan(straitenedMs);
    }
  }
  for (const [place, boundS] of Object.entries(bounds))
    expect(watched.most.get(place), place).toBeLessThanOrEqual(boundS);
  expect(watched.most.get('out_unconfirmed')).toBeGreaterThan(0.5);
  // As if the model answered 500 ms after the last word.
  const answersMs = (calls: readonly BadLinkCall[]): number[] =>
    calls
      .flatMap(({ figures }) => figures.answers.map(({ afterMs }) => afterMs - modelMs + 500))
      .toSorted((a, b) => a - b);
  const nearMs = answersMs(near);
  expect(nearMs.length).toBeGreaterThanOrEqual(12);
  expect(nearMs[Math.floor(nearMs.length * 0.8)]).toBeLessThan(1200);
  const farMs = answersMs(far);
  expect(farMs.length).toBeGreaterThanOrEqual(12);
  expect(farMs[Math.floor(farMs.length * 0.5)]).toBeLessThan(1200);
});

test('what a link did to bytes is known from both of its ends', () => {
  const given = [
    { bytes: 100, atMs: 0 },
    { bytes: 200, atMs: 20 },
    { bytes: 300, atMs: 40 },
  ];
  // The first part comes in time; what is behind it comes at once, after a stall.
  const delays = delaysOf(given, [
    { bytes: 100, atMs: 50 },
    { bytes: 300, atMs: 320 },
  ]);
  expect(delays).toEqual([
    { atMs: 50, ms: 50 },
    { atMs: 320, ms: 300 },
  ]);
  expect(longestDelayMs(delays, 40, 60)).toBe(50);
  expect(longestDelayMs(delays, 60, 400)).toBe(300);
  expect(longestDelayMs(delays, 400, 500)).toBe(0);
});

/** What a gateway says of its calls, from the outside, until the test is over. */
interface Watched {
  /** The most that there was in each place, in seconds. */
  readonly most: ReadonlyMap<string, number>;
  /** The longest that it took to answer between two moments: on a busy machine it gets no time, and no link is at fault. */
  slowestMs(fromMs: number, toMs: number): number;
}

function watchGateway(adminUrl: string): Watched {
  const most = new Map<string, number>();
  const looks: { readonly atMs: number; readonly ms: number }[] = [];
  const watching = new AbortController();
  onTestFinished(() => watching.abort());
  void watch();
  return {
    most,
    slowestMs: (fromMs, toMs) =>
      Math.max(...looks.filter(({ atMs, ms }) => atMs + ms > fromMs && atMs < toMs).map(({ ms }) => ms)),
  };

  async function watch(): Promise<void> {
    while (!watching.signal.aborted) {
      const atMs = sharedNowMs();
      const text = await fetch(`${adminUrl}/metrics`).then(
        (response) => response.text(),
        () => '',
      );
      looks.push({ atMs, ms: sharedNowMs() - atMs });
      for (const [, place = '', value] of text.matchAll(
        /^spillway_call_audio_max_seconds\{place="(\w+)"\} (\S+)$/gmu,
      ))
        most.set(place, Math.max(most.get(place) ?? 0, Number(value)));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}
