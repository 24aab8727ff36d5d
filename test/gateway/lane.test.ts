// A lane against a vCPU that is played by the test: whatever is lost, repeated, refused or forgotten, each command is answered
// once and in order, and executed at most once unless its answer says that nobody knows.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { BackendError } from '../../src/gateway/backend.ts'
import { Lane } from '../../src/gateway/lane.ts'
import {
  HOLD_MS,
  LANE_BYTES,
  LANE_COMMANDS,
  LANE_WINDOW,
  LANE_WINDOW_BYTES,
  REFUSED_LAST_MS,
} from '../../src/limits.ts'
import { requestOf } from '../../src/programs/kv/request.ts'
import { FRAME_TYPE } from '../../src/wire/frame.ts'
import { FrameBatch } from '../../src/wire/frame-batch.ts'
import { RequestCursor } from '../../src/wire/service-frames.ts'

interface Sent {
  readonly sequence: number
  readonly acknowledged: number
  readonly text: string
}

const bytesOf = (text: string): Uint8Array => Buffer.from(text)

/** A lane, what it sent last, and what its callers heard. */
class Bench {
  readonly lane = new Lane(3, 1)
  readonly heard: string[] = []
  #given = 0

  /** `length`: of the command's text, which is its number and filling. */
  give(now = 0, length = 10): void {
    const name = `${this.#given++}`
    const taker = {
      onReply: (_tag: number, bytes: Uint8Array, start: number, end: number) =>
        this.heard.push(`${name}: ${this.#text(bytes.subarray(start, end))}`),
      onFailure: (_tag: number, error: BackendError) => this.heard.push(`${name}: ${error}`),
    }
    this.lane.add(requestOf(name.padEnd(length, '.')), taker, this.#given, now, 5)
  }

  fill(): Sent[] {
    const sent: Sent[] = []
    const cursor = new RequestCursor()
    const batch = new FrameBatch(FRAME_TYPE.requests, (frame) => {
      for (cursor.begin(frame.subarray(16)); cursor.next(); ) {
        // Behind the number of arguments and the length of the first.
        const text = Buffer.from(cursor.payload.subarray(cursor.at + 8, cursor.at + cursor.length)).toString('latin1')
        sent.push({ sequence: cursor.sequence, acknowledged: cursor.acknowledged, text: text.replace(/\.+$/, '') })
        expect(cursor.vcpu).toBe(3)
      }
    })
    this.lane.fill(batch)
    batch.flush()
    return sent
  }

  answer(sequence: number, text = `r${sequence}`): boolean {
    const bytes = bytesOf(text)
    return this.lane.onAnswer(sequence, bytes, 0, bytes.length)
  }

  #text(reply: Uint8Array | BackendError): string {
    return typeof reply === 'string' ? reply : Buffer.from(reply).toString('latin1')
  }
}

const names = (sent: readonly Sent[]): string[] => sent.map(({ sequence, text }) => `${sequence} ${text}`)

describe('a lane', () => {
  test('numbers commands when they are sent, and hands replies on in order, each once', () => {
    const bench = new Bench()
    for (let count = 0; count < 3; count++) bench.give()
    expect(names(bench.fill())).toEqual(['1 0', '2 1', '3 2'])
    expect(bench.fill()).toEqual([])
    expect([bench.answer(2), bench.answer(1), bench.answer(1), bench.answer(9)]).toEqual([false, true, false, false])
    bench.lane.rewind()
    bench.give()
    const again = bench.fill()
    expect(names(again)).toEqual(['2 1', '3 2', '4 3'])
    expect(again[0]?.acknowledged).toBe(1)
    for (const sequence of [2, 3, 4]) bench.answer(sequence)
    expect(bench.heard).toEqual(['0: r1', '1: r2', '2: r3', '3: r4'])
    expect([bench.lane.isBusy, bench.lane.owesAcknowledgement]).toEqual([false, true])
  })

  test('drops what was never sent; what was sent stays as a PING, and its answer is nobody’s', () => {
    const bench = new Bench()
    bench.give(0, 40)
    bench.give(1, 40)
    bench.fill()
    bench.give(2)
    bench.give(HOLD_MS)
    bench.lane.expire(HOLD_MS + 2)
    expect(bench.heard).toEqual(['0: unknown', '1: unknown', '2: unreachable'])
    bench.lane.rewind()
    const again = bench.fill()
    expect(again.map(({ sequence }) => sequence)).toEqual([1, 2, 3])
    expect(again[0]?.text).toContain('PING')
    expect(again[2]?.text).toBe('3')
    for (const sequence of [1, 2, 3]) bench.answer(sequence)
    expect(bench.heard.slice(3)).toEqual(['3: r3'])
  })

  test('begins anew after its session was forgotten: what was sent twice may have been executed', () => {
    const bench = new Bench()
    bench.give()
    bench.give()
    bench.fill()
    bench.answer(1)
    bench.lane.rewind()
    bench.give()
    bench.fill()
    bench.give()
    bench.lane.restart(2, 2)
    expect(bench.heard).toEqual(['0: r1', '1: unknown'])
    const again = bench.fill()
    expect(names(again)).toEqual(['1 2', '2 3'])
    expect(again.map(({ acknowledged }) => acknowledged)).toEqual([0, 0])
    bench.lane.refuse(3, 0)
    expect(names(bench.fill())).toEqual(['1 2', '2 3'])
    for (const sequence of [1, 2]) bench.answer(sequence)
    expect(bench.heard.slice(2)).toEqual(['2: r1', '3: r2'])
  })

  test('one that was refused is not sent again shortly before its time is over', () => {
    const bench = new Bench()
    bench.give(0)
    bench.give(500)
    bench.fill()
    bench.lane.refuse(2, 1000)
    expect(names(bench.fill())).toEqual(['1 0', '2 1'])
    bench.lane.refuse(3, HOLD_MS - REFUSED_LAST_MS + 100)
    expect(bench.heard).toEqual(['0: refused'])
    expect(names(bench.fill())).toEqual(['1 1'])
    // Under way when its time is over: nobody knows.
    bench.lane.expire(HOLD_MS + 500)
    expect(bench.heard).toEqual(['0: refused', '1: unknown'])
  })

  test('nor when its vCPU is nowhere for most of its time; one that came later was not refused', () => {
    const bench = new Bench()
    bench.give(0)
    bench.fill()
    bench.lane.refuse(2, 0)
    bench.give(100)
    bench.lane.expire(HOLD_MS - REFUSED_LAST_MS - 1)
    expect(bench.heard).toEqual([])
    bench.lane.expire(HOLD_MS - 100)
    expect(bench.heard).toEqual(['0: refused'])
    expect(names(bench.fill())).toEqual(['1 1'])
    bench.answer(1)
    expect(bench.heard).toEqual(['0: refused', '1: r1'])
    bench.lane.refuse(3, HOLD_MS)
    bench.give(2 * HOLD_MS)
    bench.lane.expire(3 * HOLD_MS)
    expect(bench.heard.slice(2)).toEqual(['2: unreachable'])
  })

  test('when the guest has no place for it, that is what its commands are told, until it has', () => {
    const bench = new Bench()
    bench.give()
    bench.fill()
    bench.lane.refuse(2, 0)
    bench.lane.expire(HOLD_MS + 1)
    expect(bench.heard).toEqual(['0: refused'])
    bench.give(HOLD_MS)
    bench.fill()
    bench.answer(1)
    bench.give(HOLD_MS)
    bench.lane.expire(3 * HOLD_MS)
    expect(bench.heard.slice(1)).toEqual(['1: r1', '2: unreachable'])
  })

  test('begins anew also with some that it never took in: each is told its own end, and the lane goes on', () => {
    const bench = new Bench()
    const { lane, heard } = bench
    // All but full, so that one more does not fit, and a short one behind it does.
    const long = Math.floor(LANE_BYTES / 40) - 1000
    for (let count = 0; count <= 40; count++) bench.give(0, long)
    bench.give()
    // One at a time: together they have no room in the vCPU's ring.
    for (let sequence = 1; sequence < 40; sequence++) {
      expect(bench.fill()).toMatchObject([{ sequence }])
      expect(lane.hasUnsent).toBe(true)
      bench.answer(sequence)
    }
    for (let times = 0; times < 2; times++) {
      lane.rewind()
      expect(bench.fill()).toHaveLength(2)
    }
    lane.restart(2, 40)
    expect(heard.slice(39)).toEqual(['39: unknown', '40: unreachable', '41: unknown'])
    expect([lane.waiting, lane.isBusy]).toEqual([0, false])
    bench.give()
    expect(bench.fill()).toMatchObject([{ sequence: 1, text: '42' }])
    expect(bench.answer(1)).toBe(true)
    expect(heard.at(-1)).toBe('42: r1')
  })

  test('has no more bytes under way than half of the ring, whatever comes back or is sent again', () => {
    const bench = new Bench()
    const { lane } = bench
    const length = LANE_WINDOW_BYTES / 8
    for (let count = 0; count < 64; count++) bench.give(0, length)
    for (let answered = 0; answered < 64; ) {
      const sent = bench.fill()
      if (answered === 0) expect(sent).toHaveLength(7)
      if (answered % 3 === 0) {
        lane.rewind()
        expect(bench.fill().length).toBeLessThanOrEqual(7)
      }
      expect(bench.answer(++answered)).toBe(true)
    }
    expect(lane.isBusy).toBe(false)
    // Those that nobody waits for are short.
    for (let count = 0; count < 20; count++) bench.give(0, length)
    expect(bench.fill()).toHaveLength(7)
    lane.expire(HOLD_MS + 1)
    bench.give(HOLD_MS + 1, length)
    expect(bench.fill()).toHaveLength(1)
    for (let sequence = 65; sequence <= 72; sequence++) expect(bench.answer(sequence)).toBe(true)
    expect(lane.isBusy).toBe(false)
  })

  test('takes in no more than it may hold; the rest fails in its turn', () => {
    const bench = new Bench()
    for (let count = 0; count < LANE_COMMANDS + 2; count++) bench.give()
    expect(bench.lane.full).toBe(true)
    expect(bench.heard).toEqual([])
    expect(bench.fill()).toHaveLength(LANE_WINDOW)
    for (let sequence = 1; sequence <= LANE_COMMANDS; sequence++) {
      bench.answer(sequence)
      if (sequence % 1000 === 0) bench.fill()
    }
    expect(bench.heard).toHaveLength(LANE_COMMANDS + 2)
    expect(bench.heard.slice(-3)).toEqual([
      `${LANE_COMMANDS - 1}: r${LANE_COMMANDS}`,
      `${LANE_COMMANDS}: unreachable`,
      `${LANE_COMMANDS + 1}: unreachable`,
    ])
    expect([bench.lane.full, bench.lane.isBusy]).toEqual([false, false])
  })

  test('whatever happens, a command is answered once, in order, and counts at most once', () => {
    const action = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({ what: fc.constant('give' as const), length: fc.integer({ min: 4, max: 9000 }) }),
      },
      { weight: 6, arbitrary: fc.record({ what: fc.constant('send' as const), lost: fc.constantFrom(0, 0, 0, 1, 5) }) },
      {
        weight: 6,
        arbitrary: fc.record({ what: fc.constant('answer' as const), length: fc.integer({ min: 1, max: 9 }) }),
      },
      { weight: 2, arbitrary: fc.record({ what: fc.constant('rewind' as const) }) },
      {
        weight: 1,
        arbitrary: fc.record({ what: fc.constant('wait' as const), ms: fc.integer({ min: 1, max: HOLD_MS }) }),
      },
      { weight: 1, arbitrary: fc.record({ what: fc.constant('forget' as const) }) },
    )
    fc.assert(
      fc.property(fc.array(action, { maxLength: 200 }), (actions) => {
        const bench = new Bench()
        let now = 0
        let given = 0
        // The vCPU: what it executed by name, and its session; null: it was forgotten.
        const counts = new Map<string, number>()
        let executed: number | null = 0
        let replies: { sequence: number; what: 'reply' | 'forgotten' }[] = []
        let delivered = 0
        const take = (sent: readonly Sent[]): void => {
          for (const { sequence, text } of sent) {
            if (executed !== null && sequence > executed + 1) continue
            if (executed !== null && sequence === executed + 1) {
              executed = sequence
              counts.set(text, (counts.get(text) ?? 0) + 1)
            }
            replies.push({ sequence, what: executed === null ? 'forgotten' : 'reply' })
          }
        }
        const hear = (most: number): void => {
          for (const { sequence, what } of replies.splice(0, most)) {
            if (what === 'reply') {
              if (bench.answer(sequence)) delivered++
            } else if (bench.lane.isUnderWay(sequence)) {
              // With the new number nothing comes to the old one.
              bench.lane.restart(2, sequence)
              ;[replies, executed, delivered] = [[], 0, 0]
              return
            }
          }
        }
        const run = (each: (typeof actions)[number]): void => {
          if (each.what === 'give') {
            given++
            bench.give(now, each.length)
          } else if (each.what === 'send') take(bench.fill().slice(each.lost))
          else if (each.what === 'answer') hear(each.length)
          else if (each.what === 'wait') {
            now += each.ms
            bench.lane.expire(now)
          } else if (each.what === 'rewind') {
            // Another line: what was under way on the old one never comes.
            replies = []
            bench.lane.rewind()
          } else if (delivered > 0) executed = null
        }
        for (const each of actions) run(each)
        bench.lane.rewind()
        for (let round = 0; bench.lane.isBusy && round < 500; round++) {
          take(bench.fill())
          hear(replies.length)
          bench.lane.rewind()
        }
        expect(bench.heard.map((line) => Number.parseInt(line, 10))).toEqual(Array.from({ length: given }, (_, n) => n))
        for (const line of bench.heard) {
          const [name = '', outcome = ''] = line.split(': ')
          const count = counts.get(name) ?? 0
          if (outcome.startsWith('r')) expect([name, count]).toEqual([name, 1])
          else if (outcome === 'unreachable') expect([name, count]).toEqual([name, 0])
          else expect(count).toBeLessThanOrEqual(1)
        }
      }),
      { numRuns: 400 },
    )
  })
})
