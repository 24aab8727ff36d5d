// How long a vCPU waits for a page while pages are pushed at full speed, against a bare request and response of one page
// beside a bulk stream without Godwit code; the pause of post-copy by memory size; and its total time on a slow link.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { MigrationReport } from '../../src/migration/report.ts'
import { type DemoOptions, lastHop, MIB } from '../demo.ts'
import { type Competitor, type Context, type Row, samplesOf, type Technique } from '../harness.ts'
import { median } from '../statistics.ts'

const PEER = fileURLToPath(new URL('../page-peer.ts', import.meta.url))
const POST_COPY: DemoOptions = { movement: 'post-copy', content: 'random', vcpus: 1, channels: 1, 'no-oracle': true }

const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN

/** Latencies of the bare exchange, µs. */
async function bare(bytes: number): Promise<Record<string, number>> {
  const server = fork(PEER, ['serve', String(bytes)])
  const asker = fork(PEER, ['ask'])
  try {
    const [[ports]] = await Promise.all([once(server, 'message'), once(asker, 'message')])
    const answered = once(asker, 'message')
    asker.send(ports as object)
    const [{ latencies }] = (await answered) as [{ latencies: number[] }]
    const sorted = latencies.sort((a, b) => a - b)
    return { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) }
  } finally {
    for (const peer of [server, asker]) {
      const exit = once(peer, 'exit')
      peer.kill()
      await exit
    }
  }
}

function pulling(name: string, context: Context, mebibytes: number, options: DemoOptions): Competitor {
  const run = async (): Promise<Record<string, number>> => {
    const common = { ...POST_COPY, memory: `${mebibytes}MiB`, bandwidth: 'none', seed: context.seed }
    const report: MigrationReport = await lastHop({ ...common, ...options, hops: 1 })
    const { faults, timeMs } = report
    return {
      p50: faults?.latencyUs.p50 ?? Number.NaN,
      p99: faults?.latencyUs.p99 ?? Number.NaN,
      downtime: timeMs.downtime,
      total: timeMs.total,
    }
  }
  return { name, warmBytes: 2 * mebibytes * MIB, run }
}

async function latency(context: Context): Promise<Row[]> {
  const mebibytes = context.quick ? 256 : 1024
  const guest = { workload: 'diab', pace: 'free:2000/s' }
  const competitors = [
    pulling('fault', context, mebibytes, guest),
    { name: 'bare', warmBytes: 2 * mebibytes * MIB, run: () => bare(mebibytes * MIB) },
  ]
  const samples = await context.repeat(competitors)
  const row = (metric: 'p50' | 'p99', atMost: number): Row[] => {
    const [fault, yardstick] = [samplesOf(samples, 'fault', metric), samplesOf(samples, 'bare', metric)]
    const ms = (values: readonly number[]): number[] => values.map((value) => value / 1000)
    return [
      { name: `fault, ${metric}`, unit: 'ms', higherIsBetter: false, samples: ms(fault) },
      { name: `bare exchange, ${metric}`, unit: 'ms', higherIsBetter: false, samples: ms(yardstick) },
      {
        name: `fault over bare exchange, ${metric}`,
        unit: '×',
        higherIsBetter: false,
        samples: [median(fault) / median(yardstick)],
        required: { atMost },
      },
    ]
  }
  return [...row('p50', 3), ...row('p99', 5)]
}

async function downtime(context: Context): Promise<Row[]> {
  const sizes = [64, 1024]
  const named = (size: number): string => `downtime, ${size} MiB`
  const samples = await context.repeat(
    sizes.map((size) => pulling(named(size), context, size, { workload: 'web', pace: 'free:20000/s' })),
  )
  const [small, large] = sizes.map((size) => median(samplesOf(samples, named(size), 'downtime'))) as [number, number]
  return [
    ...sizes.map(
      (size): Row => ({
        name: named(size),
        unit: 'ms',
        higherIsBetter: false,
        samples: samplesOf(samples, named(size), 'downtime'),
        required: { atMost: 5 },
      }),
    ),
    {
      name: 'downtime, large over small',
      unit: '×',
      higherIsBetter: false,
      samples: [large / small],
      required: { atMost: Math.max(1.5, (small + 1) / small) },
    },
  ]
}

/** On a link of 100 MB/s the guest that runs meanwhile may cost little more time than one that stands still. */
async function total(context: Context): Promise<Row[]> {
  const guest = { workload: 'web', bandwidth: '100MB/s' }
  const mebibytes = 256
  const samples = await context.repeat([
    pulling('post-copy', context, mebibytes, guest),
    pulling('stop-and-copy', context, mebibytes, { ...guest, movement: 'stop-and-copy' }),
  ])
  const [post, stop] = [samplesOf(samples, 'post-copy', 'total'), samplesOf(samples, 'stop-and-copy', 'total')]
  const ratio = median(post) / median(stop)
  const name = 'total time over stop-and-copy, 100 MB/s'
  return [{ name, unit: '×', higherIsBetter: false, samples: [ratio], required: { atMost: 1.1 } }]
}

export const faultLatency: Technique = {
  name: 'fault-latency',
  about: 'post-copy: fault latency against a bare exchange, downtime by memory size, total time on a slow link',
  async run(context: Context): Promise<Row[]> {
    const first = await latency(context)
    return context.quick ? first : [...first, ...(await downtime(context)), ...(await total(context))]
  },
}
