// What encodings save, as ratios within one run between two real agents. The guest is locked to the transfer, so bytes do
// not depend on the machine; to compare downtime, both sides stop after as many rounds.

import type { MigrationReport } from '../../src/migration/report.ts'
import { type DemoOptions, demo, exactBytes, MIB } from '../demo.ts'
import { encodingTable } from '../encoding-table.ts'
import { type Competitor, type Context, type Row, type Samples, samplesOf, type Technique } from '../harness.ts'
import { ratios } from '../statistics.ts'

/** What `adaptive` must beat: one codec for every page. */
const SINGLE = ['pattern', 'packed', 'sparse', 'lz4', 'fallback']
const LINK = '40MB/s'
/** `web` leaves so little after two rounds that plain pre-copy meets the default downtime target over that link. */
const TWO_ROUNDS: DemoOptions = { stop: 'xen', 'max-rounds': 2 }
/** Every round of `sparse` dirties about as much. */
const FOUR_ROUNDS: DemoOptions = { stop: 'xen', 'max-rounds': 4 }
/** Pairs for ratios of time without a limit, at least. */
const PAIRS = 7

type Measured = Record<'bytes' | 'total' | 'moving' | 'downtime', number>

/** One migration at the locked pace. */
async function locked(context: Context, options: DemoOptions): Promise<MigrationReport> {
  const common = { pace: 'locked', movement: 'pre-copy', content: 'mix', workload: 'web', 'no-oracle': true } as const
  const [report] = await demo({ ...common, seed: context.seed, ...options })
  const { pages, timeMs, rounds } = report as MigrationReport
  const { encodeVerdict: verdict } = pages
  const about = `${options.content ?? 'mix'}, ${options.encode}: ${rounds.length} rounds, ${timeMs.total.toFixed(0)} ms`
  context.log(verdict === undefined ? about : `${about}; ${verdict}`)
  return report as MigrationReport
}

function measuredOf(report: MigrationReport): Measured {
  const { total, downtime, stages } = report.timeMs
  return { bytes: exactBytes(report), total, moving: (stages.iterate ?? 0) + (stages.stop ?? 0), downtime }
}

const competitor = (context: Context, options: DemoOptions, warmBytes: number): Competitor => ({
  name: String(options.encode),
  warmBytes,
  run: async () => measuredOf(await locked(context, options)),
})

interface Figure {
  readonly name: string
  readonly samples: readonly number[]
  readonly atMost?: number
  readonly exact?: boolean
  readonly note?: string
}

const figure = ({ name, samples, atMost, exact = false, note }: Figure): Row => ({
  name,
  unit: '×',
  higherIsBetter: false,
  samples,
  exact,
  ...(atMost === undefined ? {} : { required: { atMost } }),
  ...(note === undefined ? {} : { note }),
})

const bytes = (name: string, value: number, atMost?: number, note?: string): Row =>
  figure({
    name,
    samples: [value],
    exact: true,
    ...(atMost === undefined ? {} : { atMost }),
    ...(note ? { note } : {}),
  })

const over = (samples: Samples, name: string, other: string, metric: keyof Measured): number[] =>
  ratios(samplesOf(samples, name, metric), samplesOf(samples, other, metric))

/** Bytes over the link: against plain pre-copy, with and without zero elision, and against every single codec. */
async function linkBytes(context: Context, memory: number): Promise<Row[]> {
  const measure = async (encode: string): Promise<number> =>
    exactBytes(await locked(context, { memory: `${memory / MIB}MiB`, bandwidth: LINK, ...TWO_ROUNDS, encode }))
  const adaptive = await measure('adaptive')
  const zero = bytes(`mix, ${LINK}: bytes over zero`, adaptive / (await measure('zero')), 0.55)
  if (context.quick) return [zero]
  const rows = [bytes(`mix, ${LINK}: bytes over raw`, adaptive / (await measure('raw')), 0.4), zero]
  const single: [string, number][] = []
  for (const encode of SINGLE) single.push([encode, await measure(encode)])
  const [best, least] = single.reduce((one, other) => (other[1] < one[1] ? other : one))
  const each = single.map(([encode, value]) => `${encode} ${(adaptive / value).toFixed(2)}`).join(', ')
  rows.push(bytes(`mix, ${LINK}: bytes over the best codec`, adaptive / least, 0.95, `${best}; over ${each}`))
  return rows
}

async function linkTimes(context: Context): Promise<Row[]> {
  const memory = 128 * MIB
  const run = (encode: string): Competitor =>
    competitor(context, { memory: '128MiB', bandwidth: LINK, ...TWO_ROUNDS, encode }, 2 * memory)
  const samples = await context.repeat([run('adaptive'), run('raw')])
  const time = (metric: 'total' | 'downtime', atMost: number): Row =>
    figure({ name: `mix, ${LINK}: ${metric} over raw`, samples: over(samples, 'adaptive', 'raw', metric), atMost })
  return [time('total', 0.75), time('downtime', 0.8)]
}

/** Without a limit encoding must not cost: time, and bytes of a guest that cannot shrink. */
async function unlimited(context: Context, content: string, atMost: number): Promise<Row[]> {
  const memory = 512 * MIB
  const run = (encode: string): Competitor =>
    competitor(context, { memory: '512MiB', bandwidth: 'none', content, encode }, 2 * memory)
  const samples = await context.repeat([run('adaptive'), run('zero')], Math.max(PAIRS, context.repetitions))
  const against = (metric: keyof Measured): number[] => over(samples, 'adaptive', 'zero', metric)
  return [
    figure({ name: `${content}, no limit: total over zero`, samples: against('total'), atMost }),
    figure({ name: `${content}, no limit: rounds and stop over zero`, samples: against('moving') }),
    figure({ name: `${content}, no limit: bytes over zero`, samples: against('bytes'), atMost: 1.01, exact: true }),
  ]
}

/** Deltas: all pages go in round 0 (linear), so every later page is sent again. */
async function resent(context: Context): Promise<Row[]> {
  const measure = async (encode: string, cache: string): Promise<{ again: number; inDowntime: number }> => {
    const guest = { memory: '64MiB', workload: 'sparse', selection: 'linear', bandwidth: LINK, ...FOUR_ROUNDS }
    const report = await locked(context, { ...guest, encode, 'delta-cache': cache })
    const again = report.rounds.slice(1).reduce((sum, round) => sum + round.bytes, 0)
    return { again, inDowntime: report.bytes.inDowntime }
  }
  const without = await measure('adaptive', '0')
  const withDelta = await measure('adaptive', '64MiB')
  const small = await measure('adaptive', '16MiB')
  return [
    bytes('sparse: bytes sent again, delta over none', withDelta.again / without.again, 0.1),
    bytes('sparse: bytes in downtime, delta over none', withDelta.inDowntime / without.inDowntime, 0.2),
    bytes('sparse: bytes sent again, cache of a quarter', small.again / without.again),
    bytes('sparse: bytes in downtime, cache of a quarter', small.inDowntime / without.inDowntime),
  ]
}

async function duplicates(context: Context): Promise<Row[]> {
  const measure = async (encode: string): Promise<number> =>
    exactBytes(await locked(context, { memory: '128MiB', content: 'dup', bandwidth: LINK, ...TWO_ROUNDS, encode }))
  const [adaptive, dedup, zero, raw] = [
    await measure('adaptive'),
    await measure('dedup'),
    await measure('zero'),
    await measure('raw'),
  ]
  return [
    bytes('dup: bytes, adaptive over zero', adaptive / zero, 0.65),
    bytes('dup: bytes, dedup alone over raw', dedup / raw, 0.65),
    bytes('dup: bytes, dedup alone over zero', dedup / zero),
  ]
}

export const encodings: Technique = {
  name: 'encodings',
  about: 'what encodings save at 40 MB/s and cost without a limit, against raw, zero and single codecs',
  async run(context: Context): Promise<Row[]> {
    if (context.quick) return linkBytes(context, 16 * MIB)
    return [
      ...(await linkBytes(context, 128 * MIB)),
      ...(await linkTimes(context)),
      ...(await resent(context)),
      ...(await duplicates(context)),
      ...(await unlimited(context, 'mix', 1.15)),
      ...(await unlimited(context, 'random', 1.06)),
      ...(await encodingTable(context)),
    ]
  },
}
