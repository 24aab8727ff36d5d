// What is printed from a report, and the exit status that follows from it.

import { describe, expect, it } from 'vitest'
import { ProgressLine, progressText } from '../../src/cli/progress-line.ts'
import { histogramText } from '../../src/cli/pull-summary.ts'
import { withService } from '../../src/cli/service-summary.ts'
import { consistentOf, exitStatus, summarize, summarizeShortly, withoutOracle } from '../../src/cli/summary.ts'
import { GodwitError } from '../../src/errors.ts'
import type { Progress } from '../../src/events.ts'
import { reportSchema } from '../../src/migration/report.ts'
import { serviceReportSchema } from '../../src/migration/service-report.ts'
import { BufferTerminal } from './buffer-terminal.ts'
import { samplePullReport, sampleReport } from './sample-report.ts'

const PROGRESS: Progress = {
  stage: 'iterate',
  round: 1,
  workDone: 17_000,
  cleanPages: 12_288,
  totalPages: 16_384,
  bytesSent: 70_000_000,
  bytesPerSecond: 2.5e8,
  dirtyPagesPerSecond: 9000,
  predictedDowntimeMs: 31,
  trend: 'converging',
  etaMs: [40, 80],
  reason: 'the rest does not fit yet',
}

describe('summary', () => {
  it('says how pages were encoded, and why they were not', () => {
    const { pages } = sampleReport()
    expect(summarize(sampleReport())).not.toContain('encoded')
    const encodeVerdict = 'compression off: link 1.9 GB/s > codecs 450 MB/s'
    expect(summarize(sampleReport({ pages: { ...pages, encodeVerdict } }))).toMatch(
      /encoded +compression off: link 1\.9 GB/,
    )
    const lz4 = { pages: 1200, bytes: 1_048_576, cpuMs: 12 }
    const encodings = { ...pages.encodings, lz4, dedup: { pages: 3, bytes: 36 } }
    const text = summarize(sampleReport({ pages: { ...pages, encodings, encodeVerdict: 'compression on: lz4' } }))
    expect(text).toMatch(/encoded +lz4 1,200 \(1 MiB\), dedup 3 \(36 B\)\n +compression on: lz4/)
  })

  it('says what moved, how long it stood still, what was sent and what proves it', () => {
    const text = summarize(sampleReport())
    for (const part of [
      'Guest web1 moved from alpha to beta and stood still for 12.5 ms.',
      '64 MiB, 2 vCPUs, mutator web mix',
      'target 20 ms, predicted 14 ms',
      'held to 250 MB/s',
      'the rest fitted into the downtime target',
      '76.3 MiB sent, 1.19 times the memory',
      'guest stood still',
      'both hosts have the same digest',
    ]) {
      expect(text).toContain(part)
    }
    expect(text).toMatch(/consistent +yes/)
    expect(text).not.toMatch(/undefined|NaN|\[object/)
  })

  it('does not say of a guest with one vCPU that others ran', () => {
    const soft = { ...sampleReport(), movement: 'soft' } as const
    expect(summarize(soft)).toContain('the longest crossing of one vCPU; others ran')
    expect(summarize({ ...soft, guest: { ...soft.guest, vcpus: 1 } })).toContain('no vCPU ran for so long')
  })

  it('names what the destination of soft served only where that is known', () => {
    const moves = { push: 0, pull: 0, ahead: 0, again: 0, withoutData: 0, returned: 0, pingPongPages: 0 }
    const served = { servedBySource: 12, servedByDestination: 34 }
    const soft = { dualServingMs: 100, crossingMs: [], staleAtSwitch: 0, moves, recoveries: 0, ...served }
    const report = { ...sampleReport(), movement: 'soft', soft } as const
    expect(summarize(report)).toMatch(/12 requests by .+ and 34 by .+ meanwhile/)
    const calledOff = { ...report, outcome: 'cancelled', soft: { ...soft, servedByDestination: 0 } } as const
    expect(summarize(calledOff)).toMatch(/12 requests by \S+ meanwhile/)
  })

  it('says what of a kept copy was there already', () => {
    const report = sampleReport()
    expect(summarize(report)).not.toContain('kept copy')
    report.pages.encodings.kept = { pages: Math.round(0.95 * report.pages.total), bytes: 0 }
    expect(summarize(report)).toMatch(/kept copy +95 % of the pages were there already/)
  })

  it('says how the pull went, what waiting for pages cost, and how the waits were spread', () => {
    const text = summarize(samplePullReport())
    for (const part of [
      'post-copy, 1 channel',
      'pull 1.2 s',
      '1.21 s until its last page was there: so long it depended on alpha',
      '16.4k pages: 15.1k pushed, 1,204 asked for, 80 not needed, 2 dropped',
      'the link was lost and recovered 3 times',
      '1,204 asked over the network, 33 waited for a page on its way',
      '602 ms: vCPU 0 312 ms + vCPU 1 290 ms',
      'p50 220 µs, p90 410 µs, p99 1.2 ms, max 3.3 ms',
      '64 µs ▁█▇▂·▁ 4.1 ms',
    ]) {
      expect(text).toContain(part)
    }
    expect(text).not.toMatch(/undefined|NaN|\[object/)
  })

  it('says what clients saw, when somebody looked, and whether the store kept its word', () => {
    const latency = (p99: number) => ({ p50: 0.5, p90: 1, p99, p999: p99, max: p99 })
    const service = serviceReportSchema.parse({
      requests: 20_000,
      failed: 3,
      disconnects: 1,
      errors: { 'no reply: the connection was lost': 3 },
      longestGapMs: 240,
      calmGapMs: 15,
      calmMs: 2000,
      excessGapMs: 225,
      longestSilenceMs: 230,
      duringWindowMs: 2000,
      operationsPerSecond: { before: 1000, during: 990, after: 1000 },
      beforeMs: latency(2),
      duringMs: latency(180),
      afterMs: latency(3),
      exact: true,
    })
    expect(summarize(sampleReport())).not.toContain('client')
    const report = withService(sampleReport(), service)
    expect(report).toMatchObject({ consistent: true, checks: { digest: true, counters: true } })
    expect(sampleReport(report)).toEqual(report)
    const text = summarize(report)
    expect(text).toContain('no client waited longer than 240 ms for a reply (15 ms without migration)')
    expect(text).toContain("225 ms of it are the migration's")
    expect(text).toContain('500 µs / 2 ms before, 500 µs / 180 ms during, 500 µs / 3 ms after')
    expect(text).toContain('20k requests, 3 failed, 1 disconnects')
    expect(text).toContain('3 × no reply: the connection was lost')
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100)
    const broken = withService(sampleReport(), { ...service, exact: false })
    expect([broken.consistent, exitStatus(broken)]).toEqual([false, 5])
    expect(summarize(broken)).toContain('a counter of the guest is WRONG')
  })

  it('fits a hundred columns', () => {
    const faults = samplePullReport().faults
    if (faults === undefined) throw new Error('the sample has faults')
    const many = { ...faults, vcpuStallMs: Array.from({ length: 8 }, (_, i) => 1234.5 + i) }
    const texts = [
      summarize(sampleReport()),
      summarize(samplePullReport()),
      summarize(samplePullReport({ faults: many })),
    ]
    texts.push(summarize(samplePullReport({ faults: { ...many, vcpuStallMs: Array(64).fill(7) } })))
    for (const text of texts) {
      expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(100)
    }
  })

  it('has nothing to draw for a pull without faults', () => {
    expect(histogramText([])).toBe('')
    expect(histogramText([0, 0])).toBe('')
    expect(histogramText([0, 5])).toBe('2 µs █ 4 µs (a bar each doubling; the highest: 5)')
  })

  it('does not call a broken migration a good one', () => {
    const broken = sampleReport({ checks: { digest: true, audit: false }, consistent: false })
    expect(summarize(broken)).toMatch(/did NOT pass[\s\S]*✘[\s\S]*consistent +NO/)
    const error = {
      code: 'link-lost',
      message: 'the connection was lost',
      hint: 'look at the cable',
      side: 'source',
    } as const
    const failed = summarize(sampleReport({ outcome: 'failed', owner: 'source', consistent: null, checks: {}, error }))
    expect(failed).toMatch(/failed: the connection was lost \(link-lost\); the guest is at alpha/)
    expect(failed).toContain('look at the cable')
    expect(failed).not.toContain('downtime')
  })

  it('shortens a long table of rounds', () => {
    const [round] = sampleReport().rounds
    if (round === undefined) throw new Error('the sample has rounds')
    const rounds = Array.from({ length: 40 }, (_, index) => ({ ...round, index }))
    expect(summarize(sampleReport({ rounds }))).toContain('28 more rounds')
  })

  it('has a short form for hops', () => {
    expect(summarizeShortly(sampleReport())).toMatch(/^alpha → beta · completed · downtime 12.5 ms .* consistent$/)
  })
})

describe('exit status', () => {
  it.each([
    [{}, 0],
    [{ consistent: null, checks: {} }, 0],
    [{ consistent: false }, 5],
    [{ outcome: 'failed', owner: 'source' }, 1],
    [{ outcome: 'cancelled', owner: 'source' }, 1],
    [{ outcome: 'unreconciled', owner: 'nobody' }, 3],
    [{ outcome: 'lost', owner: 'nobody' }, 4],
  ] as const)('%j → %i', (changes, status) => expect(exitStatus(sampleReport(changes))).toBe(status))

  it('is 1 when the oracle could not run', () => {
    const report = withoutOracle(sampleReport(), new GodwitError('program-missing', 'no program', { hint: 'copy it' }))
    expect(reportSchema.parse(report)).toMatchObject({
      outcome: 'failed',
      error: { side: 'destination', hint: 'copy it' },
    })
    expect(exitStatus(report)).toBe(1)
  })

  it('counts only checks that ran', () => {
    expect(consistentOf({})).toBe(null)
    expect(consistentOf({ digest: true, audit: true })).toBe(true)
    expect(consistentOf({ digest: true, oracle: false })).toBe(false)
  })
})

describe('progress', () => {
  it('has everything in one line', () => {
    const text = progressText(PROGRESS)
    for (const part of ['75%', 'round 1', '250 MB/s', '9,000 pages/s', '31 ms', 'converging', 'does not fit yet']) {
      expect(text).toContain(part)
    }
  })

  it('of a pull says what is missing and why it is paused', () => {
    const pull = {
      ...PROGRESS,
      stage: 'pull',
      missingPages: 4096,
      faults: 12,
      reason: 'paused: the link is down',
    } as const
    expect(progressText(pull)).toBe(
      `${'█'.repeat(15)}${'░'.repeat(5)} 75% · pull · 4,096 pages missing · 250 MB/s · 12 faults · paused: the link is down`,
    )
    expect(progressText({ ...pull, missingPages: 0, faults: 1, reason: '' })).toMatch(
      /100% · pull · 0 pages.* 1 fault$/,
    )
  })

  it('of soft stops nobody, and says what the stages are there', () => {
    const plain = new BufferTerminal()
    const line = new ProgressLine(plain)
    for (const stage of ['stop', 'commit', 'activate', 'pull'] as const) {
      line.show({ type: 'stage', migration: 'a', stage, movement: 'soft', at: 0 })
    }
    line.show({ type: 'progress', migration: 'a', progress: { ...PROGRESS, stage: 'activate' } })
    expect(plain.errors).not.toMatch(/stopped|starting|handing over|pulls/)
    expect(plain.errors).toMatch(/75% · vCPUs go to the destination/)
    line.show({ type: 'stage', migration: 'a', stage: 'stop', movement: 'pre-copy', at: 0 })
    expect(plain.errors).toContain('guest stopped')
  })

  it('is plain lines without a terminal and one redrawn line with one', () => {
    const event = { type: 'progress', migration: 'a', progress: PROGRESS } as const
    const plain = new BufferTerminal()
    new ProgressLine(plain).show(event)
    expect(plain.errors).toMatch(/^ {2}[^\r\n]+\n$/)

    const terminal = new BufferTerminal(true)
    const line = new ProgressLine(terminal)
    line.show(event)
    line.clear()
    expect(terminal.errors.startsWith('\r\x1b[K')).toBe(true)
    expect(terminal.errors.endsWith('\r\x1b[K')).toBe(true)
    expect(terminal.errors).not.toContain('\n')
    expect(terminal.errors.length).toBeLessThan(100 + 8)
  })
})
