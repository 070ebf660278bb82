import { describe, expect, it } from '@jest/globals';
import { METRICS, Metrics, type MetricDeclaration, type MetricsOptions } from '../../../operator/telemetry/metrics.ts';
import { generateMetricsPage } from '../../../scripts/generate-metrics-docs.ts';
import { FakeClock } from '../../support/fake-clock.ts';

function metrics(overrides: Partial<MetricsOptions> = {}): Metrics {
  return new Metrics({
    clock: new FakeClock(1_700_000_000_000),
    buildInfo: { version: '1.2.3', revision: 'abc' },
    nodeVersion: 'v24.21.0',
    controllers: ['policy'],
    includeProcess: false,
    ...overrides,
  });
}

/** Value of one series, `name{label="value",…}` as Prometheus writes it; undefined when there is no such series. */
async function valueOf(subject: Metrics, series: string): Promise<number | undefined> {
  const { text } = await subject.render();
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

const DECLARATIONS: readonly MetricDeclaration[] = Object.values(METRICS);

describe('METRICS', () => {
  it.each(DECLARATIONS)('names $name after the conventions of Prometheus', ({ name, kind, help }) => {
    expect(name).toMatch(/^slipway_[a-z_]+$/);
    expect(name.endsWith('_total')).toBe(kind === 'counter');
    expect(name).not.toMatch(/_(ms|milliseconds|minutes|kb|mb|percent)(_|$)/);
    if (kind === 'histogram') expect(name).toMatch(/_seconds$/);
    expect(help).toMatch(/^[A-Z0-9].*\.$/);
  });

  it.each(DECLARATIONS)('gives $name no label without bounds', ({ labels }) => {
    expect(labels.filter((label) => /^(tag|digest|image|repository|name|namespace|policy|uid)$/.test(label))).toEqual(
      [],
    );
  });

  it.each(DECLARATIONS)('documents $name', ({ name }) => {
    const [page] = generateMetricsPage();

    expect(page?.content.split(`\`${name}\` |`)).toHaveLength(2);
  });
});

describe('Metrics', () => {
  it('says which build runs', async () => {
    expect(await valueOf(metrics(), 'slipway_build_info{version="1.2.3",revision="abc",node_version="v24.21.0"}')).toBe(
      1,
    );
  });

  it.each([
    'slipway_leader',
    'slipway_rollouts_total{result="Succeeded"}',
    'slipway_reconcile_total{controller="policy",outcome="transient"}',
    'slipway_events_dropped_total{reason="refused"}',
  ])('starts %s at 0', async (series) => {
    expect(await valueOf(metrics(), series)).toBe(0);
  });

  it('adds the metrics of the process when asked', async () => {
    const { text } = await metrics({ includeProcess: true }).render();

    expect(text).toContain('process_cpu_user_seconds_total');
  });

  it('counts policies when it is read, by readiness and reason', async () => {
    const subject = metrics();
    const policies = [
      { ready: 'True', reason: 'UpToDate' },
      { ready: 'True', reason: 'UpToDate' },
      { ready: 'False', reason: 'Unauthorized' },
    ] as const;
    let shown: readonly (typeof policies)[number][] = policies;
    subject.countPolicies(() => shown);

    expect(await valueOf(subject, 'slipway_policies{ready="True",reason="UpToDate"}')).toBe(2);
    expect(await valueOf(subject, 'slipway_policies{ready="False",reason="Unauthorized"}')).toBe(1);

    shown = policies.slice(0, 1);

    expect(await valueOf(subject, 'slipway_policies{ready="True",reason="UpToDate"}')).toBe(1);
    expect(await valueOf(subject, 'slipway_policies{ready="False",reason="Unauthorized"}')).toBeUndefined();
  });

  it('counts what is in quarantine, by cause', async () => {
    const subject = metrics();
    expect(await valueOf(subject, 'slipway_quarantined_images{cause="Image"}')).toBe(0);

    subject.countPolicies(() => [
      { ready: 'False', reason: 'CandidateRejected', quarantined: ['Image', 'Image'] },
      { ready: 'True', reason: 'UpToDate', quarantined: ['Rejected'] },
    ]);

    expect(await valueOf(subject, 'slipway_quarantined_images{cause="Image"}')).toBe(2);
    expect(await valueOf(subject, 'slipway_quarantined_images{cause="Rejected"}')).toBe(1);
  });

  it('counts finished rollouts', async () => {
    const subject = metrics();

    subject.onRolloutFinished('Succeeded');

    expect(await valueOf(subject, 'slipway_rollouts_total{result="Succeeded"}')).toBe(1);
  });

  describe('registry', () => {
    it('counts requests, bytes, time and refusals per host', async () => {
      const subject = metrics();

      subject.registry.onRequest({ host: 'ghcr.io', verb: 'list', outcome: '2xx', bytes: 100, durationMs: 20 });
      subject.registry.onRequest({ host: 'ghcr.io', verb: 'head', outcome: '429', bytes: 10, durationMs: 20 });

      expect(await valueOf(subject, 'slipway_registry_requests_total{host="ghcr.io",verb="list",outcome="2xx"}')).toBe(
        1,
      );
      expect(await valueOf(subject, 'slipway_registry_rate_limited_total{host="ghcr.io"}')).toBe(1);
      expect(await valueOf(subject, 'slipway_registry_received_bytes_total{host="ghcr.io"}')).toBe(110);
      expect(await valueOf(subject, 'slipway_registry_request_duration_seconds_sum{verb="list"}')).toBe(0.02);
    });

    it('starts the refusals of a new host at 0', async () => {
      const subject = metrics();

      subject.registry.onRequest({ host: 'ghcr.io', verb: 'list', outcome: '2xx', bytes: 0, durationMs: 1 });

      expect(await valueOf(subject, 'slipway_registry_rate_limited_total{host="ghcr.io"}')).toBe(0);
    });

    it('remembers when the last complete list was read', async () => {
      const subject = metrics();
      const listing = { host: 'ghcr.io', repository: 'ghcr.io/acme/web', tags: 1, durationMs: 1 };
      const series = 'slipway_registry_last_listing_timestamp_seconds{host="ghcr.io"}';

      subject.registry.onListing({ ...listing, outcome: 'failed' });

      expect(await valueOf(subject, series)).toBeUndefined();

      subject.registry.onListing({ ...listing, outcome: 'unchanged' });

      expect(await valueOf(subject, series)).toBe(1_700_000_000);
    });

    it('counts hosts beyond its bound as other', async () => {
      const subject = metrics({ maxHosts: 2 });

      for (const host of ['a', 'b', 'c', 'd', 'a']) {
        subject.registry.onRequest({ host, verb: 'list', outcome: '429', bytes: 0, durationMs: 1 });
      }

      expect(await valueOf(subject, 'slipway_registry_rate_limited_total{host="a"}')).toBe(2);
      expect(await valueOf(subject, 'slipway_registry_rate_limited_total{host="c"}')).toBeUndefined();
      expect(await valueOf(subject, 'slipway_registry_rate_limited_total{host="other"}')).toBe(2);
    });
  });

  describe('kube', () => {
    it.each([
      {
        when: 'a request ends',
        act: ({ kube }: Metrics) => kube.onRequest({ verb: 'get', resource: 'pods', code: 404, durationMs: 5 }),
        series: 'slipway_kube_requests_total{verb="get",resource="pods",code="404"}',
        want: 1,
      },
      {
        when: 'a watch brings an event',
        act: ({ kube }: Metrics) => kube.onWatchEvent({ resource: 'pods', type: 'BOOKMARK' }),
        series: 'slipway_watch_last_contact_timestamp_seconds{resource="pods"}',
        want: 1_700_000_000,
      },
      {
        when: 'a watch ends',
        act: ({ kube }: Metrics) => kube.onWatchEnd({ resource: 'pods', reason: 'cut' }),
        series: 'slipway_watch_ends_total{resource="pods",reason="cut"}',
        want: 1,
      },
      {
        when: 'a list is read',
        act: ({ kube }: Metrics) => kube.onRelist({ resource: 'pods', reason: 'initial', objects: 3, durationMs: 1 }),
        series: 'slipway_watch_relists_total{resource="pods",reason="expired"}',
        want: 0,
      },
      {
        when: 'a cache grows',
        act: ({ kube }: Metrics) => kube.onCacheSize({ resource: 'pods', objects: 7 }),
        series: 'slipway_cached_objects{resource="pods"}',
        want: 7,
      },
      {
        when: 'a reconcile ends',
        act: ({ kube }: Metrics) => kube.onReconcile({ controller: 'policy', outcome: 'bug', durationMs: 1_500 }),
        series: 'slipway_reconcile_duration_seconds_sum{controller="policy"}',
        want: 1.5,
      },
      {
        when: 'a queue fills',
        act: ({ kube }: Metrics) => kube.onQueueDepth({ queue: 'policy', depth: 4 }),
        series: 'slipway_queue_depth{queue="policy"}',
        want: 4,
      },
      {
        when: 'a key was waited for',
        act: ({ kube }: Metrics) => kube.onQueueWait({ queue: 'policy', waitMs: 250 }),
        series: 'slipway_queue_wait_seconds_sum{queue="policy"}',
        want: 0.25,
      },
      {
        when: 'it becomes the leader',
        act: ({ kube }: Metrics) => kube.onLeaderChange({ leading: true }),
        series: 'slipway_leader',
        want: 1,
      },
      {
        when: 'an event is dropped',
        act: ({ kube }: Metrics) => kube.onEventDropped({ reason: 'queue full' }),
        series: 'slipway_events_dropped_total{reason="queue full"}',
        want: 1,
      },
    ])('shows it when $when', async ({ act, series, want }) => {
      const subject = metrics();

      act(subject);

      expect(await valueOf(subject, series)).toBe(want);
    });
  });
});
