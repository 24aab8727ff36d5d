// The writing thread of message-ring.test.ts.

import { parentPort, workerData } from 'node:worker_threads'
import { MessageWriter } from '../../src/guest/message-ring.ts'

export interface RingThreadData {
  readonly ring: SharedArrayBuffer
  readonly count: number
  readonly longest: number
  readonly seed: number
}

/** What message `sequence` holds. */
export function contentOf({ longest, seed }: RingThreadData, sequence: number): Uint8Array {
  const random = Math.imul(sequence + seed, 0x9e3779b1) >>> 0
  return new Uint8Array(random % (longest + 1)).fill(random >>> 24)
}

if (parentPort !== null) {
  const data = workerData as RingThreadData
  const writer = new MessageWriter(data.ring)
  for (let sequence = 1; sequence <= data.count; ) {
    const [gateway, kind, acknowledged, nowMs] = [sequence, 2 * sequence, 3 * sequence, 4 * sequence]
    const bytes = contentOf(data, sequence)
    const sent = writer.push({ gateway, kind, sequence, acknowledged, nowMs, bytes, from: 0, length: bytes.length })
    writer.notify()
    if (sent) sequence++
  }
}
