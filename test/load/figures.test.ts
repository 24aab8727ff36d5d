// What the figures mean, by hand-made times: gaps, silences, windows, counters, and the section of a report.

import { describe, expect, test } from 'vitest'
import { Counters } from '../../src/load/counters.ts'
import { OPERATION, type Operation } from '../../src/load/operations.ts'
import { loadSettings } from '../../src/load/options.ts'
import { Recorder } from '../../src/load/recorder.ts'
import type { Reply, ReplyKind } from '../../src/load/reply-parser.ts'
import { resultOf } from '../../src/load/result.ts'
import { serviceOf } from '../../src/load/service.ts'
import { serviceReportSchema } from '../../src/migration/service-report.ts'

const settings = loadSettings({ targets: [{ host: '127.0.0.1', port: 1 }], connections: 2, warmUpMs: 0, valueBytes: 1 })
const replyOf = (kind: ReplyKind, text = '', integer = 0): Reply => {
  const bytes = Buffer.from(text)
  return { kind, bytes, start: 0, length: bytes.length, integer }
}
const VALUE = replyOf('bulk', 'v')
const recorderOf = (first = 'all'): Recorder => new Recorder(first, settings)
const get = (dueMs: number, kind: Operation = OPERATION.get) => ({ kind, key: 0, added: 1, dueMs })
/** A read that was due at `dueMs` and is answered now; `oldest`: what was due first on any connection. */
const answer = (recorder: Recorder, connection: number, dueMs: number, nowMs: number, oldest = dueMs): void =>
  recorder.answered(connection, get(dueMs), VALUE, nowMs, () => oldest)
const gapOf = (recorder: Recorder, window = 0): number => recorder.windows.all[window]?.longestGapMs as number
const silenceOf = (recorder: Recorder, window = 0): number => recorder.windows.all[window]?.longestSilenceMs as number

describe('a gap', () => {
  test('of a connection with nothing due is none', () => {
    const recorder = recorderOf()
    answer(recorder, 0, 10, 11)
    answer(recorder, 0, 5000, 5002)
    expect([gapOf(recorder), silenceOf(recorder)]).toEqual([2, 2])
  })

  test('begins with the last reply while more was due', () => {
    const recorder = recorderOf()
    answer(recorder, 0, 10, 100)
    answer(recorder, 0, 20, 130)
    answer(recorder, 0, 21, 130)
    expect(gapOf(recorder)).toBe(90)
    answer(recorder, 0, 50, 330)
    expect(gapOf(recorder)).toBe(200)
  })

  test('is of its connection, a silence of all', () => {
    const recorder = recorderOf()
    answer(recorder, 0, 0, 10)
    // The other one is answered every 20 ms while this one waits for 200.
    for (let now = 30; now < 210; now += 20) answer(recorder, 1, now - 2, now, 12)
    answer(recorder, 0, 12, 212)
    expect(gapOf(recorder)).toBe(200)
    // From the last reply to the other one, at 190.
    expect(silenceOf(recorder)).toBe(22)
  })

  test('goes on through a lost connection until the next reply', () => {
    const recorder = recorderOf()
    answer(recorder, 0, 0, 10)
    recorder.lost(0, get(20), 50)
    answer(recorder, 0, 400, 410)
    expect([gapOf(recorder), silenceOf(recorder)]).toEqual([390, 390])
    answer(recorder, 0, 500, 501)
    expect(gapOf(recorder)).toBe(390)
  })

  test('that the end cuts short counts until the end', () => {
    const recorder = recorderOf()
    answer(recorder, 0, 0, 10)
    recorder.lost(0, get(20), 700)
    recorder.end([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY], 1000)
    expect(gapOf(recorder)).toBe(980)
    const other = recorderOf()
    other.end([100, Number.POSITIVE_INFINITY], 1000)
    expect([gapOf(other), silenceOf(other)]).toEqual([900, 900])
  })

  test('across a mark counts whole in the window that has the larger part, as its operations do', () => {
    const recorder = recorderOf('before')
    answer(recorder, 0, 0, 990)
    recorder.windows.mark('during', 1000)
    answer(recorder, 0, 995, 1500)
    recorder.windows.mark('after', 1510)
    answer(recorder, 0, 1501, 1530)
    expect([gapOf(recorder, 0), gapOf(recorder, 1), gapOf(recorder, 2)]).toEqual([990, 505, 29])
    expect(recorder.windows.all.map(({ latency }) => latency.percentiles().max)).toEqual([990, 505, 29])
    expect(recorder.windows.all.map(({ toMs }) => toMs)).toEqual([1000, 1510, Number.POSITIVE_INFINITY])
  })
})

describe('replies', () => {
  test.each([
    [OPERATION.get, replyOf('null'), 'wrong reply: a value is gone', 1],
    [OPERATION.get, replyOf('bulk', 'vv'), 'wrong reply: not the value of this key', 1],
    [OPERATION.get, replyOf('integer'), 'wrong reply: not the value of this key', 1],
    [OPERATION.set, VALUE, 'wrong reply: SET without OK', 1],
    [OPERATION.set, replyOf('error', 'MOVED 12 10.0.0.2:6380'), 'MOVED n n.n.n.n:n', 0],
    [OPERATION.increment, replyOf('integer', '', 2), 'wrong reply: a counter that lost or doubled an increment', 1],
    [OPERATION.increment, replyOf('integer', '', 0), 'wrong reply: a counter that lost or doubled an increment', 1],
    [
      OPERATION.increment,
      replyOf('integer', '', Number.NaN),
      'wrong reply: a counter that lost or doubled an increment',
      1,
    ],
    [OPERATION.increment, replyOf('simple', 'OK'), 'wrong reply: no number', 1],
    [OPERATION.increment, replyOf('error', 'ERR held'), 'ERR held', 0],
  ])('%#: to operation %i', (kind, reply, text, wrong) => {
    const recorder = recorderOf()
    recorder.answered(0, get(0, kind), reply, 1, () => 0)
    expect(recorder.errors.toJSON()).toEqual({ [text]: 1 })
    expect([recorder.counters.wrongReplies, recorder.windows.current.failed]).toEqual([wrong, 1])
  })

  test('errors of many texts do not grow without end', () => {
    const recorder = recorderOf()
    for (let index = 0; index < 1000; index++) recorder.disconnected('x'.repeat(index), 0)
    const errors = recorder.errors.toJSON()
    expect([Object.keys(errors).length, errors['other errors']]).toEqual([33, 968])
  })
})

describe('counters', () => {
  const verdictOf = (read: number, act: (counters: Counters) => void) => {
    const counters = new Counters(1)
    act(counters)
    counters.read(0, read)
    const { ok, lost, doubled, unread } = counters.verdict()
    return { ok, lost, doubled, unread }
  }

  test('exact without failures: one less is lost, one more is doubled', () => {
    const act = (counters: Counters): void => {
      expect(counters.acknowledge(0, 5, 5)).toBe(true)
      expect(counters.acknowledge(0, 2, 7)).toBe(true)
    }
    expect(verdictOf(7, act)).toEqual({ ok: true, lost: 0, doubled: 0, unread: 0 })
    expect(verdictOf(6, act)).toEqual({ ok: false, lost: 1, doubled: 0, unread: 0 })
    expect(verdictOf(8, act)).toEqual({ ok: false, lost: 0, doubled: 1, unread: 0 })
    expect(verdictOf(Number.NaN, act)).toEqual({ ok: false, lost: 0, doubled: 0, unread: 1 })
  })

  test('one without a reply may have been done or not, whole and once', () => {
    const act = (counters: Counters): void => {
      counters.acknowledge(0, 5, 5)
      counters.doubt(0, 3)
      expect(counters.acknowledge(0, 1, 9)).toBe(true)
      expect(counters.acknowledge(0, 1, 11)).toBe(false)
    }
    expect([6, 7, 10, 11].map((read) => verdictOf(read, act).ok)).toEqual([false, true, true, false])
  })

  test('a wrong reply is enough', () => {
    expect(verdictOf(0, (counters) => void counters.wrongReplies++).ok).toBe(false)
  })
})

describe('the section of a report', () => {
  /** Replies each 10 ms, with gaps of these lengths at these times. */
  const resultWith = (gaps: Record<number, number>, marks: readonly [number, number], endMs: number) => {
    const recorder = recorderOf('before')
    const names = ['during', 'after']
    let last = 0
    for (let now = 10; now <= endMs; now += 10) {
      const mark = marks.indexOf(now)
      if (mark >= 0) recorder.windows.mark(names[mark] as string, now)
      const [at, length] =
        Object.entries(gaps)
          .map(([from, ms]) => [Number(from), ms])
          .find(([from, ms]) => now > (from as number) && now < (from as number) + (ms as number)) ?? []
      if (at !== undefined && length !== undefined) continue
      answer(recorder, 0, last, now)
      last = now
    }
    recorder.end([Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY], endMs)
    for (let counter = 0; counter < settings.counters; counter++) recorder.counters.read(counter, 0)
    return resultOf(settings, recorder, endMs)
  }

  test('compares with the last equal window before the migration', () => {
    // 400 ms at 500 lie too far back; 60 ms at 1700 do not.
    const result = resultWith({ 500: 400, 1700: 60, 2200: 500 }, [2000, 3000], 4000)
    const service = serviceOf(result)
    expect(service).toMatchObject({ longestGapMs: 500, calmGapMs: 60, calmMs: 1000, excessGapMs: 440, exact: true })
    expect(service).toMatchObject({ duringWindowMs: 1000, duringMs: { max: 500 }, afterMs: { max: 10 } })
    expect(serviceReportSchema.parse(service)).toEqual(service)
  })

  test('goes on behind the migration where the window before is shorter', () => {
    const result = resultWith({ 700: 300, 2200: 90 }, [500, 2000], 4000)
    expect(serviceOf(result)).toMatchObject({ longestGapMs: 300, calmGapMs: 90, calmMs: 1500, excessGapMs: 210 })
  })

  test('is never below 0, and a load without marks has one too', () => {
    expect(serviceOf(resultWith({ 500: 400 }, [1000, 2000], 3000)).excessGapMs).toBe(0)
    expect(serviceOf(resultWith({}, [-1, -1], 500))).toMatchObject({ longestGapMs: 0, calmMs: 0, excessGapMs: 0 })
  })
})
