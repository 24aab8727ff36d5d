// The ceiling: what one TCP stream between two processes carries from shared memory into shared memory, without any
// Godwit code. Godwit's own rate is given as a share of it, measured in the same run (techniques/idle-rate.ts).

import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type Competitor, type Context, type Row, type Samples, samplesOf, type Technique } from '../harness.ts'
import { median } from '../statistics.ts'
import type { PeerResult } from '../stream-peer.ts'

const PEER = fileURLToPath(new URL('../stream-peer.ts', import.meta.url))
const MIB = 1024 ** 2
const READ_KIB = [64, 256, 1024] as const

async function message<T>(peer: ChildProcess): Promise<T> {
  const ended = new AbortController()
  const exit = once(peer, 'exit', { signal: ended.signal }).then(([status]) => {
    throw new Error(`a stream peer ended with status ${status}`)
  })
  try {
    return (await Promise.race([once(peer, 'message'), exit]))[0] as T
  } finally {
    exit.catch(() => {})
    ended.abort()
  }
}

/** One stream of `bytes` between two new processes: GB/s and CPU seconds per GiB of both together. */
async function stream(bytes: number, readBytes: number, seed: number): Promise<Record<string, number>> {
  const sender = fork(PEER, ['send', String(bytes), String(seed)])
  const receiver = fork(PEER, ['receive', String(bytes), '0', String(readBytes)])
  try {
    const [address] = await Promise.all([message<{ port: number }>(sender), message(receiver)])
    const results = Promise.all([message<PeerResult>(sender), message<PeerResult>(receiver)])
    receiver.send(address)
    const [sent, received] = await results
    return {
      rate: bytes / 1e9 / received.seconds,
      cpuPerGiB: (sent.cpuSeconds + received.cpuSeconds) / (bytes / 1024 ** 3),
    }
  } finally {
    const ends = [sender, receiver].filter((peer) => peer.exitCode === null && peer.signalCode === null)
    const exits = ends.map((peer) => once(peer, 'exit'))
    for (const peer of ends) peer.kill()
    await Promise.all(exits)
  }
}

/** The ceiling's competitors, one a read size, for a guest of `bytes`. */
export function ceilingCompetitors(bytes: number, seed: number): Competitor[] {
  return READ_KIB.map((kib) => ({
    name: `reads of ${kib} KiB`,
    warmBytes: 2 * bytes,
    run: () => stream(bytes, kib * 1024, seed),
  }))
}

/** The fastest of the read sizes, by its median: its name and its rates, GB/s. */
export function bestCeiling(samples: Samples): { name: string; rates: number[] } {
  const all = READ_KIB.map((kib) => `reads of ${kib} KiB`)
    .filter((name) => samples[name] !== undefined)
    .map((name) => ({ name, rates: samplesOf(samples, name, 'rate') }))
  return all.reduce((best, next) => (median(next.rates) > median(best.rates) ? next : best))
}

export const ceiling: Technique = {
  name: 'ceiling',
  about: 'one TCP stream from shared memory into shared memory, no Godwit code',
  async run(context: Context): Promise<Row[]> {
    const bytes = (context.quick ? 128 : 1024) * MIB
    const competitors = ceilingCompetitors(bytes, context.seed)
    const samples = await context.repeat(competitors)
    const best = bestCeiling(samples)
    const rows: Row[] = competitors.flatMap(({ name }) => [
      { name, unit: 'GB/s', higherIsBetter: true, samples: samplesOf(samples, name, 'rate') },
      {
        name: `${name}, CPU`,
        unit: 'CPU s/GiB',
        higherIsBetter: false,
        samples: samplesOf(samples, name, 'cpuPerGiB'),
      },
    ])
    const published = { value: 2.65, by: 'raw stream in C, 2.4–2.9' }
    rows.push({ name: `best: ${best.name}`, unit: 'GB/s', higherIsBetter: true, samples: best.rates, published })
    if (!context.quick) {
      const fastest = competitors.find(({ name }) => name === best.name) as Competitor
      const cold = await context.cold(fastest)
      rows.push({ name: 'the same, cold', unit: 'GB/s', higherIsBetter: true, samples: [cold.rate as number] })
    }
    return rows
  },
}
