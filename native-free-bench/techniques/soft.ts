// Soft against pre-copy, as clients of a key-value guest see them: a write load from outside, a link of 40 MB/s with a round trip
// of 20 ms, and the longest time that a connection waited for a reply, in excess of the longest of an equal time without migration.

import type { MigrationReport } from '../../src/migration/report.ts'
import { build } from '../agents.ts'
import { type DemoOptions, demo, MIB } from '../demo.ts'
import { type Competitor, type Context, type Row, samplesOf, type Technique } from '../harness.ts'
import { median } from '../statistics.ts'

/** Each way, ms. */
const ONE_WAY_MS = 10
const MEBIBYTES = 320
/** Under half of two processors; four vCPUs write more than the link carries, one of them does not. */
const GUEST: DemoOptions = {
  program: 'kv',
  memory: `${MEBIBYTES}MiB`,
  vcpus: 4,
  bandwidth: '40MB/s',
  encode: 'zero',
  chaos: `delay:${ONE_WAY_MS}ms`,
  writes: 1,
  'value-size': 64_000,
  keys: 3500,
  rate: 1200,
}

function moving(movement: 'soft' | 'pre-copy', context: Context): Competitor {
  const run = async (): Promise<Record<string, number>> => {
    const [report] = (await demo({ ...GUEST, movement, seed: context.seed }, 'build')) as [MigrationReport]
    const { service, soft, timeMs } = report
    if (service === undefined) throw new Error('the demo says nothing of its clients')
    return {
      excess: service.excessGapMs,
      gap: service.longestGapMs,
      calm: service.calmGapMs,
      p99: service.duringMs.p99 / service.beforeMs.p99,
      crossing: Math.max(0, ...(soft?.crossingMs ?? [])),
      downtime: timeMs.downtime,
      wrong: service.failed + service.disconnects + (service.exact === true ? 0 : 1),
    }
  }
  return { name: movement, warmBytes: 2 * MEBIBYTES * MIB, run }
}

/** What a single run can show. */
const kept = (crossings: readonly number[], right: readonly number[]): Row[] => [
  {
    name: 'soft: longest crossing of a vCPU',
    unit: 'ms',
    higherIsBetter: false,
    samples: crossings,
    required: { atMost: 3 * 2 * ONE_WAY_MS + 5 },
  },
  {
    name: 'no request failed, nobody was disconnected, every counter is exact',
    unit: 'yes',
    higherIsBetter: true,
    samples: right,
    required: { atLeast: 1 },
    exact: true,
  },
]

/** A quick bench has no time for gaps. */
async function once(context: Context): Promise<Row[]> {
  const { crossing = Number.NaN, wrong } = await moving('soft', context).run()
  return kept([crossing], [wrong === 0 ? 1 : 0])
}

export const soft: Technique = {
  name: 'soft',
  about: 'soft against pre-copy as clients of a key-value guest see them, over a long link',
  async run(context: Context): Promise<Row[]> {
    // Both hosts are this machine: a process that starts from sources takes the clients' processor for twice as long.
    await build()
    if (context.quick) return await once(context)
    const samples = await context.repeat([moving('pre-copy', context), moving('soft', context)])
    const of = (name: string, metric: string): readonly number[] => samplesOf(samples, name, metric)
    const gaps = ['pre-copy', 'soft'].flatMap((name): Row[] => [
      { name: `${name}: longest gap of a connection`, unit: 'ms', higherIsBetter: false, samples: of(name, 'gap') },
      { name: `${name}: in excess of a calm time`, unit: 'ms', higherIsBetter: false, samples: of(name, 'excess') },
    ])
    const ratio = median(of('soft', 'excess')) / median(of('pre-copy', 'excess'))
    const right = [...of('pre-copy', 'wrong'), ...of('soft', 'wrong')].map((wrong) => (wrong === 0 ? 1 : 0))
    return [
      ...gaps,
      {
        name: 'excess gap, soft over pre-copy',
        unit: '×',
        higherIsBetter: false,
        samples: [ratio],
        required: { atMost: 0.1 },
      },
      {
        name: 'soft: p99 during over before',
        unit: '×',
        higherIsBetter: false,
        samples: of('soft', 'p99'),
        required: { atMost: 3 },
      },
      ...kept(of('soft', 'crossing'), right),
    ]
  },
}
