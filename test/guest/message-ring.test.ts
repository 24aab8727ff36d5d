// A ring between two real threads: nothing torn, lost, doubled or out of order, whatever its size and however it wraps.

import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { type Message, MessageReader, MessageWriter, newRing } from '../../src/guest/message-ring.ts'
import { seeded } from '../kernels/memory-fixture.ts'
import { contentOf, type RingThreadData } from './ring-thread.ts'

const messageOf = (sequence: number, bytes: Uint8Array): Message => ({
  gateway: 2 ** 32 - 1,
  kind: 3,
  sequence,
  acknowledged: sequence / 2,
  nowMs: 1e12 + sequence,
  bytes,
  from: 0,
  length: bytes.length,
})

/** The message with bytes of its own. */
function taken(message: Message | null): Message | null {
  return message === null ? null : { ...message, bytes: bytesOf(message), from: 0 }
}

const bytesOf = ({ bytes, from, length }: Message): Uint8Array => bytes.slice(from, from + length)

test('a ring is a queue: full is said and changes nothing, positions wrap', () => {
  const step = fc.oneof(fc.nat(300), fc.constant(-1))
  fc.assert(
    fc.property(fc.constantFrom(64, 256, 1024), fc.array(step, { maxLength: 200 }), (capacity, steps) => {
      const ring = newRing(capacity)
      // Close to where positions begin anew.
      new Int32Array(ring).fill(-512, 0, 17)
      const [writer, reader] = [new MessageWriter(ring), new MessageReader(ring)]
      const expected: Message[] = []
      let used = 0
      const sizeOf = (length: number): number => Math.ceil((40 + length) / 8) * 8
      steps.forEach((length, at) => {
        if (length < 0) {
          const first = expected.shift()
          expect(taken(reader.peek())).toEqual(first ?? null)
          if (first === undefined) return
          expect(taken(reader.peek())).toEqual(first)
          reader.take()
          used -= sizeOf(first.bytes.length)
          return
        }
        const message = messageOf(at, new Uint8Array(length).fill(at))
        const fits = used + sizeOf(length) <= capacity
        expect([writer.fits(length), writer.push(message)]).toEqual([fits, fits])
        if (!fits) return
        expected.push(message)
        used += sizeOf(length)
      })
    }),
    seeded(300),
  )
})

test.each([
  [256, 60],
  [4096, 3000],
  [65_536, 200],
])('two threads and a ring of %i bytes', async (capacity, longest) => {
  const data: RingThreadData = { ring: newRing(capacity), count: 40_000, longest, seed: 7 }
  const worker = new Worker(new URL('./ring-thread.ts', import.meta.url), { workerData: data })
  onTestFinished(async () => {
    await worker.terminate()
  })
  const reader = new MessageReader(data.ring)
  let rests = 0
  for (let sequence = 1; sequence <= data.count; ) {
    const message = reader.peek()
    if (message === null) {
      rests++
      await reader.arrival()
      continue
    }
    const { gateway, kind, acknowledged, nowMs } = message
    const bytes = bytesOf(message)
    const right = contentOf(data, sequence)
    if (message.sequence !== sequence || Buffer.compare(bytes, right) !== 0) {
      expect([message.sequence, bytes]).toEqual([sequence, right])
    }
    expect(gateway + kind + acknowledged + nowMs).toBe(sequence * 10)
    reader.take()
    sequence++
  }
  expect(reader.peek()).toBeNull()
  expect(rests).toBeGreaterThan(0)
})

test('a reader that found nothing is to be woken, once, and one that is busy is not', () => {
  const ring = newRing(256)
  const [writer, reader] = [new MessageWriter(ring), new MessageReader(ring)]
  writer.push(messageOf(1, new Uint8Array(0)))
  expect(writer.takeWaiting()).toBe(false)
  reader.peek()
  reader.take()
  expect(writer.takeWaiting()).toBe(false)
  expect(reader.peek()).toBeNull()
  expect([writer.takeWaiting(), writer.takeWaiting()]).toEqual([true, false])
})

test('who waits for a message can be let go without one', async () => {
  const reader = new MessageReader(newRing(64))
  expect(reader.peek()).toBeNull()
  const waiting = reader.arrival()
  reader.wakeUp()
  await waiting
  expect(reader.peek()).toBeNull()
})

test('a reader says that there is room when somebody waits for it, and no sooner', () => {
  const ring = newRing(256)
  let told = 0
  const [writer, reader] = [new MessageWriter(ring), new MessageReader(ring, () => told++)]
  const message = messageOf(1, new Uint8Array(80))
  expect([writer.push(message), writer.push(message), writer.push(message)]).toEqual([true, true, false])
  reader.peek()
  reader.take()
  expect(told).toBe(0)
  expect([writer.push(message), writer.fits(80)]).toEqual([true, false])
  writer.wantRoom()
  expect([writer.fits(80), told]).toEqual([false, 0])
  reader.peek()
  reader.take()
  expect([told, writer.fits(80)]).toEqual([1, true])
  reader.peek()
  reader.take()
  expect(told).toBe(1)
})

test('in a large ring a reader says what is free now and then, and always before it rests', () => {
  const ring = newRing(64 * 1024)
  const [writer, reader] = [new MessageWriter(ring), new MessageReader(ring)]
  const message = messageOf(1, new Uint8Array(300))
  let count = 0
  while (writer.push(message)) count++
  for (let taken = 0; taken < count; taken++) {
    reader.peek()
    reader.take()
  }
  expect(reader.peek()).toBeNull()
  for (let again = 0; again < count; again++) expect(writer.push(message)).toBe(true)
})

test('what is written is read when it is said', () => {
  const ring = newRing(256)
  const [writer, reader] = [new MessageWriter(ring), new MessageReader(ring)]
  expect(writer.write(1, 0, 1, 0, 0, new Uint8Array(8), 0, 8)).toBe(true)
  expect(reader.peek()).toBeNull()
  writer.say()
  expect(writer.takeWaiting()).toBe(true)
  expect(reader.peek()).toMatchObject({ sequence: 1, length: 8 })
})
