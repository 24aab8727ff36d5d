// How long a vCPU waits for a page while pages are pushed at full speed, against a bare request and response of one page
// beside a bulk stream without Godwit code, on loopback and over a long link; the pause of post-copy by memory size; and its
// total time on a slow link.

import type { MigrationReport } from '../../src/migration/report.ts'
import { bareExchange } from '../bare-exchange.ts'
import { type DemoOptions, lastHop, MIB } from '../demo.ts'
import { type Competitor, type Context, type Row, type Samples, samplesOf, type Technique } from '../harness.ts'
import { median } from '../statistics.ts'

const POST_COPY: DemoOptions = { movement: 'post-copy', content: 'random', vcpus: 1, channels: 1, 'no-oracle': true }

/** The way back counts, for the way there has warmed up the memory it goes to. */
const BACK: DemoOptions = { hops: 1 }
/** Of the relay that stands for a long link, ms. */
const ONE_WAY_MS = 5

function pulling(name: string, context: Context, mebibytes: number, options: DemoOptions): Competitor {
  const run = async (): Promise<Record<string, number>> => {
    const common = { ...POST_COPY, memory: `${mebibytes}MiB`, bandwidth: 'none', seed: context.seed }
    const report: MigrationReport = await lastHop({ ...common, ...options })
    const { faults, timeMs } = report
    return {
      p50: faults?.latencyUs.p50 ?? Number.NaN,
      p99: faults?.latencyUs.p99 ?? Number.NaN,
      count: faults?.network ?? Number.NaN,
      downtime: timeMs.downtime,
      total: timeMs.total,
    }
  }
  return { name, warmBytes: 2 * mebibytes * MIB, run }
}

/** The quantiles of both competitors and their ratio. `where` ends each name, `atMost` bounds the ratio. */
function latencyRows(samples: Samples, metric: 'p50' | 'p99', where: string, atMost?: number): Row[] {
  const [fault, yardstick] = [samplesOf(samples, 'fault', metric), samplesOf(samples, 'bare', metric)]
  const latency = (name: string, micros: readonly number[]): Row => ({
    name: `${name}${where}, ${metric}`,
    unit: 'ms',
    higherIsBetter: false,
    samples: micros.map((value) => value / 1000),
  })
  const ratio: Row = {
    name: `fault over bare exchange${where}, ${metric}`,
    unit: '×',
    higherIsBetter: false,
    samples: [median(fault) / median(yardstick)],
    ...(atMost === undefined ? {} : { required: { atMost } }),
  }
  return [latency('fault', fault), latency('bare exchange', yardstick), ratio]
}

const GUEST = { workload: 'diab', pace: 'free:2000/s' }

/** A fault and the bare exchange in a guest of that size, every byte of both on its way for `delayMs`. */
function pair(context: Context, mebibytes: number, delayMs = 0): Competitor[] {
  const far: DemoOptions = delayMs === 0 ? {} : { chaos: `delay:${delayMs}ms` }
  const back = delayMs > 0 && context.quick ? {} : BACK
  const run = (): Promise<Record<string, number>> => bareExchange(mebibytes * MIB, delayMs)
  return [
    pulling('fault', context, mebibytes, { ...GUEST, ...far, ...back }),
    { name: 'bare', warmBytes: 2 * mebibytes * MIB, run },
  ]
}

async function latency(context: Context): Promise<Row[]> {
  const samples = await context.repeat(pair(context, context.quick ? 256 : 1024))
  return [...latencyRows(samples, 'p50', '', 3), ...latencyRows(samples, 'p99', '', 5)]
}

/** The same over a link with a round trip of 10 ms: shown, not required. */
async function farLatency(context: Context): Promise<Row[]> {
  const samples = context.quick
    ? await single(pair(context, 64, ONE_WAY_MS))
    : await context.repeat(pair(context, 1024, ONE_WAY_MS))
  const counts = ['fault', 'bare'].map((name) => samplesOf(samples, name, 'count').join(' '))
  context.log(`round trip of ${2 * ONE_WAY_MS} ms: ${counts[0]} faults, ${counts[1]} bare exchanges`)
  const where = `, ${2 * ONE_WAY_MS} ms round trip`
  return [...latencyRows(samples, 'p50', where), ...latencyRows(samples, 'p99', where)]
}

/** One run each, cold: a quick bench has no time for more. */
async function single(competitors: readonly Competitor[]): Promise<Samples> {
  const samples: Samples = {}
  for (const { name, run } of competitors) {
    samples[name] = Object.fromEntries(Object.entries(await run()).map(([metric, value]) => [metric, [value]]))
  }
  return samples
}

async function downtime(context: Context): Promise<Row[]> {
  const sizes = [64, 1024]
  const named = (size: number): string => `downtime, ${size} MiB`
  const samples = await context.repeat(
    sizes.map((size) => pulling(named(size), context, size, { ...BACK, workload: 'web', pace: 'free:20000/s' })),
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
  const guest = { ...BACK, workload: 'web', bandwidth: '100MB/s' }
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
  about:
    'post-copy: fault latency against a bare exchange, near and far, downtime by memory size, total time on a slow link',
  async run(context: Context): Promise<Row[]> {
    const first = [...(await latency(context)), ...(await farLatency(context))]
    return context.quick ? first : [...first, ...(await downtime(context)), ...(await total(context))]
  },
}
