// A test file ends what it starts. When its last test is over, whatever it opened and still keeps the process alive (a
// server, a child process, a timer, a socket) fails the file and is named. Where a test has failed that is what people are
// told, because it had no chance to clean up.

import { TestEnvironment as NodeEnvironment } from 'jest-environment-node';

/** Sockets and children take a moment to be gone after they were told to. */
const GRACE_MS = 3_000;

export default class LeakGuardEnvironment extends NodeEnvironment {
  /** @type {ReadonlyMap<string, number>} */
  #before = new Map();
  #hasFailed = false;

  async setup() {
    await super.setup();
    this.#before = countResources();
  }

  /** @param {{ name: string, test?: { errors: readonly unknown[] } }} event */
  handleTestEvent(event) {
    if (event.name === 'test_done') this.#hasFailed ||= (event.test?.errors.length ?? 0) > 0;
  }

  async teardown() {
    const leaks = await leaksAfterGrace(this.#before);
    await super.teardown();
    if (leaks.length > 0 && !this.#hasFailed)
      throw new Error(`Left open by this test file: ${leaks.join(', ')}. End what a test starts.`);
  }
}

/** Resources that keep the process alive, by kind: TCPServerWrap, ProcessWrap, Timeout, … */
function countResources() {
  const counts = new Map();
  for (const kind of process.getActiveResourcesInfo()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

/** @param {ReadonlyMap<string, number>} before */
async function leaksAfterGrace(before) {
  const deadline = performance.now() + GRACE_MS;
  for (;;) {
    const leaks = leaksSince(before);
    if (leaks.length === 0 || performance.now() > deadline) return leaks;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** @param {ReadonlyMap<string, number>} before */
function leaksSince(before) {
  return [...countResources()]
    .filter(([kind]) => LEAKY.has(kind))
    .map(([kind, count]) => ({ kind, more: count - (before.get(kind) ?? 0) }))
    .filter(({ more }) => more > 0)
    .map(({ kind, more }) => `${more} ${kind}`);
}

/** The kinds a test can own. File system requests and the pipes between jest and its workers come and go by themselves. */
const LEAKY = new Set([
  'TCPServerWrap',
  'TCPSocketWrap',
  'TLSWrap',
  'PipeServerWrap',
  'ProcessWrap',
  'Timeout',
  'UDPWrap',
  'FSEventWrap',
  'Worker',
]);
