// A report of a pre-copy migration that went well, for tests of what is printed from one.

import { type MigrationReport, reportSchema } from '../../src/migration/report.ts'
import { settingsSchema } from '../../src/migration/settings.ts'

/** The sample with some fields replaced; checked against the schema. */
export function sampleReport(changes: Partial<MigrationReport> = {}): MigrationReport {
  const round = { skipped: 0, dirtyPagesPerSecond: 9000, bytesPerSecond: 2.5e8 }
  return reportSchema.parse({
    version: 1,
    id: 'ab'.repeat(16),
    guest: {
      name: 'web1',
      memoryBytes: 64 * 1024 ** 2,
      pageBytes: 4096,
      vcpus: 2,
      program: 'mutator',
      workload: 'web',
      content: 'mix',
      pace: 'free:20000/s',
      seed: 1,
    },
    source: 'alpha',
    destination: 'beta',
    movement: 'pre-copy',
    settings: settingsSchema.parse({ bandwidth: 2.5e8 }),
    outcome: 'completed',
    owner: 'destination',
    stopReason: 'downtime-target',
    consistent: true,
    checks: { digest: true, audit: true },
    timeMs: {
      total: 400,
      downtime: 12.5,
      vcpuDowntimes: [12.5, 12.1],
      clockError: 0,
      stages: { prepare: 5, reserve: 40, iterate: 330, stop: 10, commit: 3, activate: 2 },
      downtimeParts: { handshake: 0.5, lastRound: 8, digest: 1, commit: 1, state: 1, activate: 1 },
      downtimeTarget: 20,
      downtimePredicted: 14,
    },
    bytes: { sent: 80_000_000, received: 5000, inDowntime: 2_000_000, control: 9000 },
    pages: {
      total: 16_384,
      sent: 19_000,
      encodings: { zero: { pages: 1600, bytes: 0 }, raw: { pages: 17_400, bytes: 71_270_400 } },
      skipped: 300,
      free: 0,
      duplicateFactor: 1.16,
    },
    rounds: [
      {
        ...round,
        index: 0,
        dirty: 16_384,
        sent: 16_084,
        skipped: 300,
        bytes: 66e6,
        ms: 264,
        decision: 'the rest does not fit',
      },
      { ...round, index: 1, dirty: 2600, sent: 2400, bytes: 9.8e6, ms: 40, decision: 'the rest fits into the target' },
      { ...round, index: 2, dirty: 516, sent: 516, bytes: 2e6, ms: 8, decision: 'final' },
    ],
    slowdown: { stepsPerSecondBefore: 20_000, during: 19_000, after: 20_000, share: 0.05 },
    handshakes: { count: 3, totalMs: 1.2, maxMs: 0.6 },
    resources: { sourceCpuMs: 300, destinationCpuMs: 250, sourceRssPeak: 2e8, destinationRssPeak: 2e8 },
    ...changes,
  })
}

/** The sample as a post-copy migration whose link was lost three times. */
export function samplePullReport(changes: Partial<MigrationReport> = {}): MigrationReport {
  const sample = sampleReport()
  const { timeMs, rounds } = sample
  return sampleReport({
    movement: 'post-copy',
    settings: settingsSchema.parse({ movement: 'post-copy', bandwidth: 2.5e8 }),
    stopReason: 'requested',
    timeMs: { ...timeMs, total: 1400, stages: { ...timeMs.stages, iterate: 0, pull: 1200 } },
    rounds: rounds.slice(-1),
    faults: {
      network: 1204,
      localWait: 33,
      stallMs: 602,
      vcpuStallMs: [312, 290],
      latencyUs: { p50: 220, p90: 410, p99: 1200, max: 3300 },
      histogram: [0, 0, 0, 0, 0, 0, 12, 610, 480, 90, 0, 45],
    },
    pull: {
      pages: 16_384,
      pushed: 15_100,
      asked: 1204,
      skipped: 80,
      dropped: 2,
      recoveries: 3,
      residualDependencyMs: 1210,
    },
    ...changes,
  })
}
