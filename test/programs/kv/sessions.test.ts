// Exactly once (R30) against a model: gateways whose requests are lost, doubled and sent again and whose replies are lost,
// a vCPU that comes to other hosts meanwhile. In the end the store is byte for byte one that each command reached once.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Accessors } from '../../../src/guest/accessors.ts'
import { GuestMemory } from '../../../src/guest/memory.ts'
import type { Program, RequestPort, ServiceAnswer, ServiceRequest } from '../../../src/guest/program.ts'
import { registersOf } from '../../../src/guest/safepoint.ts'
import { KV_TURNED_AWAY } from '../../../src/limits.ts'
import { create } from '../../../src/programs/kv/program.ts'
import { requestOf } from '../../../src/programs/kv/request.ts'
import { decodeRequest, encodeRequest } from '../../../src/programs/kv/request-codec.ts'
import { sessionPages, shareOf } from '../../../src/programs/kv/shares.ts'
import { seeded } from '../../kernels/memory-fixture.ts'
import { NOW, newStore } from './store.ts'

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1')
const [OK, GATEWAY_QUIET_MS] = ['+OK\r\n', 60_000]

/** A vCPU with its program, one step at a time, and a memory that can be carried elsewhere. */
class Vcpu implements RequestPort {
  readonly queue: ServiceRequest[] = []
  readonly answers: (Pick<ServiceAnswer, 'what' | 'gateway' | 'sequence'> & { text: string })[] = []
  memory: GuestMemory
  /** Room for answers. */
  room = Number.POSITIVE_INFINITY
  #program!: Program
  #accessors!: Accessors

  constructor(pages: number) {
    this.memory = newStore(pages).memory
    this.reopen()
  }

  reopen(): void {
    const { memoryBytes } = this.memory.layout
    const registers = registersOf(this.memory, 0)
    this.#accessors = new Accessors(this.memory, registers)
    this.#program = create({ vcpu: 0, vcpus: 1, memoryBytes, options: {}, seed: 1, registers, requests: this })
  }

  /** The guest is on another host now. */
  move(): void {
    const there = GuestMemory.create(this.memory.layout.memoryBytes, 1)
    there.bytes.set(this.memory.bytes)
    there.free.set(this.memory.free)
    this.memory = there
    this.queue.length = 0
    this.reopen()
  }

  step(): boolean {
    return this.#program.step(this.#accessors) !== false
  }

  peek(): ServiceRequest | null {
    return this.queue[0] ?? null
  }

  done(): void {
    this.queue.shift()
  }

  fits(): boolean {
    return this.answers.length < this.room
  }

  answer({ what, gateway, sequence, bytes, from = 0, length = bytes.length }: ServiceAnswer): void {
    this.answers.push({ what, gateway, sequence, text: text(bytes.subarray(from, from + length)) })
  }

  awaitRoom(): void {}

  /** One request and what comes of it. */
  ask(gateway: number, sequence: number, acknowledged: number, parts: string[] = ['PING'], nowMs = NOW): string {
    this.queue.push({ gateway, sequence, acknowledged, nowMs, bytes: encodeRequest(requestOf(...parts)) })
    expect(this.step()).toBe(true)
    const answer = this.answers.pop()
    if (answer === undefined) return 'nothing'
    expect(answer).toMatchObject({ gateway, sequence })
    return answer.what === 'reply' ? answer.text : answer.what
  }
}

interface Sent {
  readonly parts: readonly string[]
  readonly nowMs: number
  answered: boolean
}

/** What a gateway knows. */
class Gateway {
  readonly sent: Sent[] = []
  readonly #number: number
  readonly #vcpu: Vcpu

  constructor(number: number, vcpu: Vcpu) {
    this.#number = number
    this.#vcpu = vcpu
  }

  get acknowledged(): number {
    const open = this.sent.findIndex(({ answered }) => !answered)
    return open < 0 ? this.sent.length : open
  }

  acknowledge(): void {
    const numbers = { gateway: this.#number, sequence: 0, acknowledged: this.acknowledged }
    this.#vcpu.queue.push({ ...numbers, nowMs: 0, bytes: new Uint8Array(0) })
  }

  send(from: number, to: number): void {
    for (const [index, { parts, nowMs }] of this.sent.slice(from, to).entries()) {
      const bytes = encodeRequest(requestOf(...parts))
      const numbers = { gateway: this.#number, sequence: from + index + 1, acknowledged: this.acknowledged }
      this.#vcpu.queue.push({ ...numbers, nowMs, bytes })
    }
  }
}

const key = fc.constantFrom('a', 'b', 'c')
const command = fc.oneof(
  key.map((name) => ['INCR', `n${name}`]),
  fc.tuple(key, fc.nat(1500)).map(([name, length]) => ['SET', name, 'x'.repeat(length)]),
  key.map((name) => ['GETSET', name, 'short']),
  key.map((name) => ['SET', name, 'gone soon', 'PX', '100']),
  key.map((name) => ['GET', name]),
)
const action = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('issue' as const), parts: command, after: fc.nat(60) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('step' as const), count: fc.nat(6), lost: fc.nat(2) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('resend' as const), from: fc.nat(10), count: fc.nat(10) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('drop' as const), at: fc.nat(10) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('move' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('reopen' as const) }) },
)

test('every command is executed once, whatever is lost, doubled, sent again or moved', () => {
  let repeated = 0
  const seen = new Set<string>()
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(2), action), { maxLength: 300, size: 'max' }), (actions) => {
      const vcpu = new Vcpu(32)
      const reference = newStore(32)
      const gateways = [1, 2, 2 ** 32 - 1].map((number) => new Gateway(number, vcpu))
      const replies = new Map<string, string>()
      const executed = new Map<number, number>()
      const settle = (lost: boolean): void => {
        for (const { what, gateway, sequence, text: said } of vcpu.answers.splice(0)) {
          seen.add(what)
          if (what !== 'reply') continue
          const sender = gateways[gateway > 2 ? 2 : gateway - 1] as Gateway
          const sent = sender.sent[sequence - 1] as Sent
          const name = `${gateway}/${sequence}`
          if (sequence === (executed.get(gateway) ?? 0) + 1) {
            executed.set(gateway, sequence)
            replies.set(name, reference.run(sent.parts, sent.nowMs))
          } else repeated++
          expect([name, said]).toEqual([name, replies.get(name)])
          if (!lost) sent.answered = true
        }
      }
      let nowMs = NOW
      for (const [index, what] of actions) {
        const gateway = gateways[index] as Gateway
        if (what.do === 'issue') {
          // Clocks of gateways differ.
          nowMs += what.after
          gateway.sent.push({ parts: what.parts, nowMs: nowMs - 50 * index, answered: false })
          gateway.send(gateway.sent.length - 1, gateway.sent.length)
        } else if (what.do === 'step') {
          for (let count = 0; count < what.count && vcpu.step(); count++) settle(what.lost === 0)
        } else if (what.do === 'resend') {
          const from = Math.max(0, gateway.sent.length - what.from)
          gateway.send(from, from + what.count)
        } else if (what.do === 'drop') vcpu.queue.splice(what.at, 1)
        else if (what.do === 'move') vcpu.move()
        else vcpu.reopen()
      }
      for (let turns = 0; gateways.some(({ sent, acknowledged }) => acknowledged < sent.length); turns++) {
        expect(turns).toBeLessThan(200)
        for (const gateway of gateways) {
          gateway.acknowledge()
          gateway.send(gateway.acknowledged, gateway.sent.length)
        }
        while (vcpu.step()) settle(false)
      }
      const { from } = sessionPages(shareOf(vcpu.memory.layout.memoryBytes, 0, 1))
      expect(
        gateways.map(({ sent }, index) => sent.length === (executed.get([1, 2, 2 ** 32 - 1][index] ?? 0) ?? 0)),
      ).toEqual([true, true, true])
      for (let page = 0; page < from; page++) {
        if (vcpu.memory.free[page] !== 0) continue
        const [ours, right] = [vcpu.memory, reference.memory].map(({ bytes }) =>
          bytes.subarray(page * 4096, (page + 1) * 4096),
        )
        expect(Buffer.compare(ours as Uint8Array, right as Uint8Array), `page ${page}`).toBe(0)
      }
    }),
    seeded(100),
  )
  expect(repeated).toBeGreaterThan(100)
  expect([...seen].sort()).toEqual(['busy', 'out-of-order', 'reply'])
})

test('a gateway that takes replies and acknowledges none gets no more room, but others who take theirs do', () => {
  const vcpu = new Vcpu(64)
  expect(vcpu.ask(1, 1, 0, ['SET', 'k', 'v'.repeat(3000)])).toBe(OK)
  let sequence = 2
  while (vcpu.ask(1, sequence, 0, ['GET', 'k']) !== 'busy') sequence++
  expect(sequence).toBeGreaterThan(3)
  expect(vcpu.ask(2, 1, 0, ['INCR', 'n'])).toBe('busy')
  // What was answered can be asked for again all the same, and that is what gives room.
  expect(vcpu.ask(1, 2, 1, ['GET', 'k'])).toContain('vvv')
  expect(vcpu.ask(1, 0, sequence - 1)).toBe('nothing')
  expect(vcpu.ask(2, 1, 0, ['INCR', 'n'])).toBe(':1\r\n')
  expect(vcpu.ask(2, 1, 0, ['INCR', 'n'])).toBe(':1\r\n')
  expect(vcpu.ask(1, sequence, sequence - 1, ['GET', 'k'])).toContain('vvv')
})

test('a gateway that is slow to acknowledge keeps its own replies and nothing else', () => {
  const vcpu = new Vcpu(64)
  vcpu.ask(1, 1, 0, ['SET', 'k', 'v'.repeat(3000)])
  expect(vcpu.ask(1, 2, 1, ['GET', 'k'])).toContain('vvv')
  let answered = 0
  for (let sequence = 1; sequence <= 100; sequence++) {
    // It asks the second time where the first one came too soon after a compaction.
    let said = vcpu.ask(2, sequence, sequence - 1, ['GET', 'k'])
    for (const until = performance.now() + 1000; said === 'busy' && performance.now() < until; ) {
      said = vcpu.ask(2, sequence, sequence - 1, ['GET', 'k'])
    }
    if (said.includes('vvv')) answered++
    expect(vcpu.ask(1, 2, 1, ['GET', 'k'])).toBe(`$3000\r\n${'v'.repeat(3000)}\r\n`)
  }
  expect(answered).toBe(100)
})

test('a gateway that is gone for good loses its place after a while of nobody finding room, and is told so', async () => {
  const vcpu = new Vcpu(64)
  vcpu.ask(1, 1, 0, ['SET', 'k', 'v'.repeat(3000)])
  let sequence = 2
  while (vcpu.ask(1, sequence, 0, ['GET', 'k']) !== 'busy') sequence++
  const real = performance.now
  try {
    const now = real.call(performance)
    performance.now = () => now + 1
    expect(vcpu.ask(2, 1, 0, ['INCR', 'n'])).toBe('busy')
    performance.now = () => now + 4990
    expect(vcpu.ask(2, 1, 0, ['INCR', 'n'])).toBe('busy')
    performance.now = () => now + 5010
    expect(vcpu.ask(2, 1, 0, ['INCR', 'n'])).toBe(':1\r\n')
  } finally {
    performance.now = real
  }
  expect(vcpu.ask(1, sequence, 0, ['GET', 'k'])).toBe('forgotten')
  // It was executed: a copy that comes so late is not executed again.
  expect(vcpu.ask(1, 1, 0, ['SET', 'k', 'v'.repeat(3000)])).toBe('forgotten')
  expect(vcpu.ask(3, 1, 0)).toBe('+PONG\r\n')
  expect(vcpu.ask(2, 1, 0, ['INCR', 'n'])).toBe(':1\r\n')
})

test('a gateway whose own replies take all the room keeps its place when it comes after a while to ask for them', () => {
  const vcpu = new Vcpu(64)
  const value = 'v'.repeat(3000)
  vcpu.ask(1, 1, 0, ['SET', 'k', value])
  let sequence = 2
  while (vcpu.ask(1, sequence, 0, ['GET', 'k']) !== 'busy') sequence++
  const real = performance.now
  try {
    const now = real.call(performance)
    // Its line was cut, and it has none of the replies.
    performance.now = () => now + 6000
    for (let again = 2; again < sequence; again++) expect(vcpu.ask(1, again, 0)).toBe(`$3000\r\n${value}\r\n`)
    expect(vcpu.ask(1, sequence, 0, ['INCR', 'n'])).toBe('busy')
  } finally {
    performance.now = real
  }
  expect(vcpu.ask(1, sequence, sequence - 1, ['INCR', 'n'])).toBe(':1\r\n')
  expect(vcpu.ask(1, sequence, sequence - 1, ['INCR', 'n'])).toBe(':1\r\n')
  expect(vcpu.ask(2, 1, 0, ['INCR', 'n'])).toBe(':2\r\n')
})

test('sixteen gateways have a place; another gets that of one that was quiet for long', () => {
  const vcpu = new Vcpu(64)
  for (let gateway = 1; gateway <= 16; gateway++)
    expect(vcpu.ask(gateway, 1, 0, ['PING'], NOW + gateway)).toBe('+PONG\r\n')
  expect(vcpu.ask(17, 1, 0, ['PING'], NOW + GATEWAY_QUIET_MS)).toBe('refused')
  expect(vcpu.ask(18, 1, 0, ['PING'], NOW + GATEWAY_QUIET_MS + 1)).toBe('+PONG\r\n')
  expect(vcpu.ask(1, 2, 1)).toBe('forgotten')
  expect(vcpu.ask(2, 2, 1)).toBe('+PONG\r\n')
  expect(vcpu.ask(18, 1, 0)).toBe('+PONG\r\n')
})

test('R30: what was refused is not executed when a copy of it comes after a place has become free, here or elsewhere', () => {
  const vcpu = new Vcpu(64)
  for (let gateway = 1; gateway <= 16; gateway++) vcpu.ask(gateway, 1, 0)
  const late = NOW + GATEWAY_QUIET_MS
  expect(vcpu.ask(100, 1, 0, ['INCR', 'n'])).toBe('refused')
  expect(vcpu.ask(200, 1, 0, ['INCR', 'n'], late)).toBe(':1\r\n')
  // It goes on under another number, which is on its way while the copy lies in a ring.
  expect(vcpu.ask(100, 1, 0, ['INCR', 'n'], late)).toBe('refused')
  vcpu.move()
  expect(vcpu.ask(100, 1, 0, ['INCR', 'n'], late)).toBe('refused')
  // As many as fill the list, some of which find a place.
  let free = 0
  for (let gateway = 1001; gateway <= 1000 + KV_TURNED_AWAY; gateway++) {
    if (vcpu.ask(gateway, 1, 0, ['PING'], late) !== 'refused') free++
  }
  expect(free).toBe(15)
  expect(vcpu.ask(1000 + KV_TURNED_AWAY, 1, 0, ['INCR', 'n'], late)).toBe('refused')
  expect(vcpu.ask(200, 2, 1, ['GET', 'n'], late)).toBe('$1\r\n1\r\n')
})

test('R30: what comes before the first request of a new gateway is behind a gap; it is told that it is forgotten for good', () => {
  const vcpu = new Vcpu(64)
  // The first two came back, and are sent again behind the third one's copy.
  expect(vcpu.ask(7, 3, 0, ['INCR', 'n'])).toBe('out-of-order')
  for (const sequence of [1, 2, 3]) expect(vcpu.ask(7, sequence, 0, ['INCR', 'n'])).toBe(`:${sequence}\r\n`)
  expect(vcpu.ask(8, 3, 2, ['INCR', 'n'])).toBe('forgotten')
  for (const sequence of [4, 1, 2, 3]) expect(vcpu.ask(8, sequence, 0, ['INCR', 'n'])).toBe('forgotten')
  for (let gateway = 10; gateway < 26; gateway++) vcpu.ask(gateway, 1, 0)
  expect(vcpu.ask(9, 1, 0)).toBe('refused')
  expect(vcpu.ask(9, 2, 0)).toBe('refused')
  expect(vcpu.ask(7, 4, 3, ['GET', 'n'])).toBe('$1\r\n3\r\n')
})

test('a guest that is older than its replies says so', () => {
  const vcpu = new Vcpu(64)
  expect(vcpu.ask(1, 1, 0, ['INCR', 'n'])).toBe(':1\r\n')
  expect(vcpu.ask(1, 9, 8, ['INCR', 'n'])).toBe('forgotten')
  expect(vcpu.ask(1, 3, 1, ['INCR', 'n'])).toBe('out-of-order')
  expect(vcpu.ask(1, 2, 1, ['INCR', 'n'])).toBe(':2\r\n')
})

test('no answer is written where the host has no room for one', () => {
  const vcpu = new Vcpu(64)
  vcpu.room = 0
  vcpu.queue.push({
    gateway: 1,
    sequence: 1,
    acknowledged: 0,
    nowMs: NOW,
    bytes: encodeRequest(requestOf('INCR', 'n')),
  })
  expect([vcpu.step(), vcpu.step(), vcpu.queue.length]).toEqual([false, false, 1])
  vcpu.room = 1
  expect([vcpu.step(), vcpu.queue.length]).toEqual([true, 0])
  expect(vcpu.answers).toMatchObject([{ what: 'reply', text: ':1\r\n' }])
})

test('time never runs backwards, and what is no time changes nothing', () => {
  const vcpu = new Vcpu(64)
  expect(vcpu.ask(1, 1, 0, ['SET', 'k', 'v', 'PX', '100'], NOW)).toBe(OK)
  expect(vcpu.ask(1, 2, 1, ['GET', 'k'], NOW + 101)).toBe('$-1\r\n')
  expect(vcpu.ask(1, 3, 2, ['SET', 'k', 'v', 'PX', '100'], Number.NaN)).toBe(OK)
  expect(vcpu.ask(1, 4, 3, ['GET', 'k'], NOW)).toBe('$1\r\nv\r\n')
  expect(vcpu.ask(1, 5, 4, ['GET', 'k'], NOW + 202)).toBe('$-1\r\n')
})

test('requests come out as they went in, and bytes that are none are refused', () => {
  const request = requestOf('?')
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 1, maxLength: 200 }),
      fc.nat(),
      (parts, cut) => {
        const encoded = encodeRequest(requestOf(...parts))
        expect(decodeRequest(encoded, request)).toBe(true)
        const { bytes, starts, lengths, count } = request
        const found = Array.from({ length: count }, (_, at) =>
          bytes.slice(starts[at], (starts[at] ?? 0) + (lengths[at] ?? 0)),
        )
        expect(found).toEqual(parts.map((part) => new Uint8Array(part)))
        expect(decodeRequest(encoded.subarray(0, cut % encoded.length), request)).toBe(false)
      },
    ),
    seeded(200),
  )
  const vcpu = new Vcpu(64)
  const bytes = Uint8Array.of(255, 255, 255, 255, 1)
  vcpu.queue.push({ gateway: 1, sequence: 1, acknowledged: 0, nowMs: NOW, bytes })
  vcpu.step()
  expect(vcpu.answers.pop()).toMatchObject({ what: 'reply', text: '-ERR Protocol error: malformed request\r\n' })
  expect(vcpu.ask(1, 2, 1)).toBe('+PONG\r\n')
})
