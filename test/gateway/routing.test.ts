// Where commands go, against slots that Redis computed; and requests taken apart and put together again.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { BackendError, ReplyTaker } from '../../src/gateway/backend.ts'
import { Gathering } from '../../src/gateway/gathering.ts'
import { ReplyOrder } from '../../src/gateway/reply-order.ts'
import { ROUTE, routeOf } from '../../src/gateway/routing.ts'
import { comesApart, splitRequest } from '../../src/gateway/split.ts'
import { type CommandSpec, findCommand } from '../../src/programs/kv/command-table.ts'
import { type Request, requestOf, textOf } from '../../src/programs/kv/request.ts'
import { slotOf, vcpuOfSlot } from '../../src/programs/kv/shares.ts'
import { seeded } from '../kernels/memory-fixture.ts'

const specOf = (request: Request): CommandSpec => findCommand(request) as CommandSpec
const route = (vcpus: number, oneSlot: boolean, ...parts: string[]): number => {
  const request = requestOf(...parts)
  return routeOf(specOf(request), request, vcpus, oneSlot)
}
const textsOf = (request: Request): string[] =>
  Array.from({ length: request.count }, (_, index) => textOf(request, index, 10_000))
const vcpuOf = (key: string, vcpus: number): number => {
  const bytes = Buffer.from(key, 'latin1')
  return vcpuOfSlot(slotOf(bytes, 0, bytes.length), vcpus)
}

describe('routes', () => {
  // CLUSTER KEYSLOT of Redis 7.
  const SLOTS: readonly (readonly [string, number])[] = [
    ['foo', 12182],
    ['bar', 5061],
    ['hello', 866],
    ['123456789', 12739],
    ['{user1000}.following', 3443],
    ['{user1000}.followers', 3443],
    ['foo{}{bar}', 8363],
    ['foo{{bar}}zap', 4015],
    ['foo{bar}{zap}', 5061],
    ['', 0],
  ]
  test.each(SLOTS)("'%s' is of slot %d", (key, slot) => {
    expect(slotOf(Buffer.from(key), 0, key.length)).toBe(slot)
    for (const vcpus of [1, 2, 3, 16]) {
      expect(route(vcpus, false, 'GET', key)).toBe(Math.floor((slot * vcpus) / 16384))
      expect(route(vcpus, true, 'SET', key, 'value')).toBe(Math.floor((slot * vcpus) / 16384))
    }
  })

  test('several keys: one vCPU, several, and one slot only in cluster mode', () => {
    // 12182 and 12739 are of one half, 866 of the other.
    expect(route(2, false, 'MGET', 'foo', '123456789')).toBe(1)
    expect(route(2, false, 'DEL', 'foo', 'hello')).toBe(ROUTE.split)
    expect(route(1, false, 'DEL', 'foo', 'hello')).toBe(0)
    expect(route(2, true, 'MGET', 'foo', '123456789')).toBe(ROUTE.cross)
    expect(route(1, true, 'MGET', 'foo', '123456789')).toBe(ROUTE.cross)
    expect(route(2, true, 'MSET', '{user1000}.following', '1', '{user1000}.followers', '2')).toBe(0)
    expect(route(2, false, 'MSET', 'foo', 'hello', '123456789', 'hello')).toBe(1)
  })

  test('without keys: all, or the gateway itself', () => {
    for (const name of ['DBSIZE', 'FLUSHALL', 'INFO']) expect(route(2, false, name)).toBe(ROUTE.all)
    for (const name of ['PING', 'COMMAND', 'HELLO']) expect(route(2, true, name)).toBe(ROUTE.local)
  })
})

const anyKeys = fc.array(fc.string({ unit: 'binary-ascii', maxLength: 8 }), { minLength: 1, maxLength: 20 })
const anyVcpus = fc.integer({ min: 1, max: 9 })

describe('taken apart', () => {
  test('every key is in the part of its vCPU, in order, with its value', () => {
    fc.assert(
      fc.property(anyKeys, anyVcpus, fc.constantFrom('MGET', 'MSET', 'DEL', 'EXISTS'), (keys, vcpus, name) => {
        const values = name === 'MSET'
        const request = requestOf(name, ...keys.flatMap((key, index) => (values ? [key, `value ${index}`] : [key])))
        const parts = splitRequest(specOf(request), request, vcpus)
        expect(new Set(parts.map(({ vcpu }) => vcpu)).size).toBe(parts.length)
        expect(parts.flatMap((part) => part.keys).sort((a, b) => a - b)).toEqual([...keys.keys()])
        for (const { vcpu, request: part, keys: indices } of parts) {
          expect(indices).toEqual([...indices].sort((a, b) => a - b))
          expect(textsOf(part)).toEqual([
            name,
            ...indices.flatMap((index) => (values ? [keys[index], `value ${index}`] : [keys[index]])),
          ])
          for (const index of indices) expect(vcpuOf(keys[index] as string, vcpus)).toBe(vcpu)
        }
      }),
      seeded(300),
    )
  })

  test('an MSET with half a pair does not come apart', () => {
    const request = requestOf('MSET', 'a', '1', 'b')
    expect(comesApart(specOf(request), request)).toBe(false)
  })
})

/** What it hears, as text. */
class Ear implements ReplyTaker {
  readonly heard: string[] = []
  onReply(tag: number, bytes: Uint8Array, start: number, end: number): void {
    this.heard.push(`${tag} ${Buffer.from(bytes.subarray(start, end)).toString('latin1')}`)
  }
  onFailure(tag: number, error: BackendError): void {
    this.heard.push(`${tag} ${error}`)
  }
}

/** A reply in the middle of other bytes, which are overwritten afterwards. */
function tell(gathering: Gathering, part: number, text: string): void {
  const bytes = Buffer.from(`###${text}###`, 'latin1')
  gathering.onReply(part, bytes, 3, 3 + text.length)
  bytes.fill(0)
}

describe('put together', () => {
  test('a list in the order of the keys, whatever the order of the parts', () => {
    const ear = new Ear()
    const gathering = new Gathering(
      2,
      {
        how: 'list',
        keys: [
          [0, 3],
          [1, 2, 4],
        ],
        count: 5,
      },
      ear,
      7,
    )
    tell(gathering, 1, '*3\r\n$-1\r\n$4\r\n\r\n$9\r\n$0\r\n\r\n')
    expect(ear.heard).toEqual([])
    tell(gathering, 0, '*2\r\n$1\r\na\r\n$1\r\nd\r\n')
    expect(ear.heard).toEqual(['7 *5\r\n$1\r\na\r\n$-1\r\n$4\r\n\r\n$9\r\n$1\r\nd\r\n$0\r\n\r\n'])
  })

  test('sums, OK, and the first error of all', () => {
    const ear = new Ear()
    const sum = new Gathering(3, { how: 'sum' }, ear, 1)
    for (const [part, text] of [':1\r\n', ':0\r\n', ':41\r\n'].entries()) tell(sum, part, text)
    const ok = new Gathering(2, { how: 'ok' }, ear, 2)
    for (const part of [1, 0]) tell(ok, part, '+OK\r\n')
    const broken = new Gathering(2, { how: 'ok' }, ear, 3)
    broken.onFailure(1, 'unreachable')
    tell(broken, 0, '-OOM no memory\r\n')
    expect(ear.heard).toEqual(['1 :42\r\n', '2 +OK\r\n', '3 -OOM no memory\r\n'])
  })
})

test('replies come out in the order of commands, whatever order they come in', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(100), { maxLength: 400 }), (dice) => {
      const order = new ReplyOrder()
      const open: number[] = []
      const asked: number[] = []
      const written: number[] = []
      const answer = (tag: number): void => {
        if (tag !== order.head) return order.keep(tag, Uint8Array.of(tag & 0xff, tag >>> 8))
        written.push(tag)
        for (let next = order.pass(); next !== null; next = order.pass()) {
          written.push((next[0] as number) + ((next[1] as number) << 8))
        }
      }
      for (const die of dice) {
        if (die < 55 || open.length === 0) {
          const tag = order.take()
          open.push(tag)
          asked.push(tag)
        } else answer(open.splice(die % open.length, 1)[0] as number)
        expect(order.pending).toBe(asked.length - written.length)
      }
      while (open.length > 0) answer(open.pop() as number)
      expect(written).toEqual(asked)
      expect(order).toMatchObject({ pending: 0, keptBytes: 0 })
    }),
    seeded(300),
  )
  const order = new ReplyOrder()
  order.take()
  expect(() => order.keep(5, new Uint8Array(1))).toThrow('nobody awaits')
})
