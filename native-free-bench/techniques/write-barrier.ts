// What dirty tracking costs a guest: random stores through the accessors, safepoint polls included, against bare ones.

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { type Competitor, type Context, type Row, samplesOf, type Technique } from '../harness.ts'
import { ratios } from '../statistics.ts'

const LOOP = fileURLToPath(new URL('../barrier-loop.ts', import.meta.url))
const MIB = 1024 ** 2
const run = promisify(execFile)
/** Hot sets, MiB: one that fits the caches, the one with a requirement, a large one. */
const REQUIRED_MIB = 64
const HOT_MIB = [1, REQUIRED_MIB, 256] as const
const MAX_RATIO = 1.6
/** "If clear then set" over a plain store, measured before the engine was written. */
const AT_DESIGN = { value: 1.34, by: 'at design' }

function competitor(mode: 'tracked' | 'untracked', hotMiB: number, stores: number, seed: number): Competitor {
  return {
    name: mode,
    warmBytes: hotMiB * MIB,
    async run() {
      const { stdout } = await run(process.execPath, [LOOP, mode, String(hotMiB * MIB), String(stores), String(seed)])
      return { ns: Number(stdout) }
    },
  }
}

export const writeBarrier: Technique = {
  name: 'write-barrier',
  about: 'random stores through the accessors, polling included, against untracked ones',
  async run(context: Context): Promise<Row[]> {
    const stores = context.quick ? 5_000_000 : 20_000_000
    const rows: Row[] = []
    for (const hotMiB of context.quick ? [REQUIRED_MIB] : HOT_MIB) {
      const pair = (['untracked', 'tracked'] as const).map((mode) => competitor(mode, hotMiB, stores, context.seed))
      const samples = await context.repeat(pair)
      const [bare, marked] = [samplesOf(samples, 'untracked', 'ns'), samplesOf(samples, 'tracked', 'ns')]
      const ratio: Row = {
        name: `${hotMiB} MiB hot: tracked over untracked`,
        unit: '×',
        higherIsBetter: false,
        samples: ratios(marked, bare),
        published: AT_DESIGN,
      }
      rows.push(
        hotMiB === REQUIRED_MIB ? { ...ratio, required: { atMost: MAX_RATIO } } : ratio,
        { name: `${hotMiB} MiB hot: untracked store`, unit: 'ns', higherIsBetter: false, samples: bare },
        { name: `${hotMiB} MiB hot: tracked store`, unit: 'ns', higherIsBetter: false, samples: marked },
      )
    }
    return rows
  },
}
