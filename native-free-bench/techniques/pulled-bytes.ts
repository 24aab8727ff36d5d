// Post-copy and hybrid in virtual time: the guest takes a fixed number of steps for every page it gets, so bytes and
// faults are the same on any machine. Hines and Gopalan, VEE 2009 and OSR 43(3), give the published figures.

import type { GuestConfig } from '../../src/guest/config.ts'
import { PAGE_BYTES } from '../../src/limits.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import type { PushOrderName } from '../../src/migration/settings.ts'
import { LAMBDA } from '../../src/programs/workloads.ts'
import { type DemoOptions, demo, exactBytes, MIB } from '../demo.ts'
import { type Trace, touchedPages, traceOf } from '../guest-trace.ts'
import type { Context, Row, Technique } from '../harness.ts'
import { type Prefetch, prefetchOf } from '../prefetch.ts'
import { type Pull, replayPull } from '../pull-replay.ts'

const MEMORY_BYTES = 128 * MIB
const PAGE_COUNT = MEMORY_BYTES / PAGE_BYTES
const STREAMS = 4
const JUMP = 0.005
/** Faults that may be more or fewer than in the replay: on a busy machine the step that a fault brings may be made a batch late, and now and then meets other pages. */
const LATE_FAULTS = 2
const LATE_SHARE = 0.01

async function locked(context: Context, options: DemoOptions): Promise<MigrationReport> {
  const common = { memory: '128MiB', content: 'random', pace: 'locked', bandwidth: 'none', 'no-oracle': true as const }
  const [report] = await demo({ ...common, seed: context.seed, ...options })
  const { movement, faults, pages } = report as MigrationReport
  context.log(`${options.workload}, ${movement}: ${pages.sent} pages sent, ${faults?.network ?? 0} network faults`)
  return report as MigrationReport
}

const exact = (name: string, value: number, atMost?: number, published?: Row['published']): Row => ({
  name,
  unit: '×',
  higherIsBetter: false,
  samples: [value],
  exact: true,
  ...(atMost === undefined ? {} : { required: { atMost } }),
  ...(published === undefined ? {} : { published }),
})

const networkFaults = (report: MigrationReport): number => report.faults?.network ?? Number.NaN

/** The `local` guest of `godwit demo`, as this bench starts it. */
const localGuest = (seed: number): GuestConfig => ({
  id: '0'.repeat(32),
  name: 'bench',
  memoryBytes: MEMORY_BYTES,
  vcpus: 1,
  program: 'mutator',
  programHash: null,
  options: { workload: 'local', content: 'random', streams: STREAMS, jump: JUMP },
  seed,
  pace: { kind: 'locked', lambda: null },
})

/** The pull of a report, page by page. Throws when the two do not count the same faults: then it is another pull. */
function pageByPage(trace: Trace, order: PushOrderName, report: MigrationReport): Pull {
  const pull = replayPull(trace, { order, pageCount: PAGE_COUNT, lambda: LAMBDA.local })
  const off = Math.abs(pull.asked.size - networkFaults(report))
  if (off <= Math.max(LATE_FAULTS, LATE_SHARE * pull.asked.size)) return pull
  throw new Error(`${order}: ${networkFaults(report)} network faults, ${pull.asked.size} in the replay`)
}

async function diab(context: Context): Promise<Row[]> {
  const xen = { workload: 'diab', movement: 'pre-copy', stop: 'xen' }
  const linear = await locked(context, { ...xen, selection: 'linear' })
  const skip = await locked(context, { ...xen, selection: 'skip' })
  const post = await locked(context, { workload: 'diab', movement: 'post-copy' })
  return [
    exact('diab: pages sent over pages', post.pages.duplicateFactor, 1),
    exact('diab: bytes, post-copy over linear pre-copy', exactBytes(post) / exactBytes(linear), 0.4),
    exact('diab: bytes, post-copy over skipping pre-copy', exactBytes(post) / exactBytes(skip), 0.6),
  ]
}

async function local(context: Context): Promise<Row[]> {
  const guest = { workload: 'local', movement: 'post-copy', option: `jump=${JUMP}` }
  const pushed = await locked(context, { ...guest, 'push-order': 'linear' })
  const around = await locked(context, { ...guest, 'push-order': 'around-the-fault' })
  const pivots = await locked(context, { ...guest, 'push-order': 'several-pivots' })
  const trace = traceOf(localGuest(context.seed), PAGE_COUNT * LAMBDA.local)
  const touched = touchedPages(trace)
  context.log(`local: ${touched} pages touched`)
  const figure = prefetchOf(pageByPage(trace, 'around-the-fault', around), pageByPage(trace, 'linear', pushed))
  return [
    exact('local: pages sent over pages', around.pages.duplicateFactor, 1),
    exact('local: network faults over push-only', networkFaults(around) / networkFaults(pushed), 0.5),
    exact('local: network faults over pages touched', networkFaults(around) / touched, 0.21, {
      value: 0.21,
      by: 'Hines',
    }),
    exact('local: the same, push-only', networkFaults(pushed) / touched, undefined, {
      value: 0.71,
      by: 'Hines, kernel build',
    }),
    exact('local: the same, several pivots', networkFaults(pivots) / touched),
    ...prefetchRows(context, figure),
  ]
}

/** Prefetch efficiency; docs/techniques.md says what each share is of. */
function prefetchRows(context: Context, prefetch: Prefetch): Row[] {
  const { pushed, inTime, pushedNext, inTimeNext, wouldFault, caused } = prefetch
  context.log(`local: ${wouldFault} faults of push-only; of ${pushed} pages pushed around a fault ${inTime} in time,`)
  context.log(`local: … of ${pushedNext} in the first batch after one ${inTimeNext}; ${caused} faults more`)
  return [
    exact('local: prefetch, in time over faults of push-only', inTime / wouldFault),
    exact('local: prefetch, in time over pushed next to a fault', inTimeNext / pushedNext),
    exact('local: prefetch, in time over all pushed around one', inTime / pushed),
    exact('local: prefetch, faults caused over faults of push-only', caused / wouldFault),
  ]
}

async function hybrid(context: Context, workload: string): Promise<Row[]> {
  const post = await locked(context, { workload, movement: 'post-copy' })
  const both = await locked(context, { workload, movement: 'hybrid' })
  return [
    exact(`${workload}: pages sent over pages, post-copy`, post.pages.duplicateFactor, 1),
    exact(`${workload}: network faults, hybrid over post-copy`, networkFaults(both) / networkFaults(post), 0.3),
    exact(`${workload}: bytes, hybrid over post-copy`, exactBytes(both) / exactBytes(post)),
  ]
}

async function free(context: Context, movement: string): Promise<Row[]> {
  const guest = { workload: 'free', movement }
  const hinted = await locked(context, guest)
  const plain = await locked(context, { ...guest, option: 'declare=false' })
  return [exact(`free: bytes, ${movement}, declared over not`, exactBytes(hinted) / exactBytes(plain), 0.55)]
}

export const pulledBytes: Technique = {
  name: 'pulled-bytes',
  about: 'bytes and faults of post-copy and hybrid at a locked pace: diab, local, web, hot, free',
  async run(context: Context): Promise<Row[]> {
    const first = [...(await diab(context)), ...(await local(context))]
    if (context.quick) return first
    return [
      ...first,
      ...(await hybrid(context, 'web')),
      ...(await hybrid(context, 'hot')),
      ...(await free(context, 'pre-copy')),
      ...(await free(context, 'post-copy')),
    ]
  },
}
