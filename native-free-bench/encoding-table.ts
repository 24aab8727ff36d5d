// `--encode adaptive` over every content and four links: bytes, time, the encodings it chose and why. Every migration of
// the table is checked by digest, audit and oracle. Called by techniques/encodings.ts.

import type { MigrationReport } from '../src/migration/report.ts'
import { CONTENTS } from '../src/programs/contents.ts'
import { demo, exactBytes, MIB } from './demo.ts'
import type { Context, Row } from './harness.ts'

/** The slower the link, the smaller the guest: each run takes a few seconds. */
const LINKS = [
  { name: 'no limit', bandwidth: 'none', memory: 256 * MIB },
  { name: '200 MB/s', bandwidth: '200MB/s', memory: 256 * MIB },
  { name: '40 MB/s', bandwidth: '40MB/s', memory: 64 * MIB },
  { name: '2 MB/s', bandwidth: '2MB/s', memory: 8 * MIB },
] as const

/** `zero 30 %, lz4 20 %`: share of the pages sent by encoding, the largest first. */
function sharesOf({ pages }: MigrationReport): string {
  return Object.entries(pages.encodings)
    .sort(([, one], [, other]) => other.pages - one.pages)
    .map(
      ([name, { pages: count }]) =>
        `${name} ${((100 * count) / pages.sent).toFixed(count < pages.sent / 100 ? 1 : 0)} %`,
    )
    .join(', ')
}

async function cell(context: Context, content: string, link: (typeof LINKS)[number]): Promise<Row[]> {
  const { name, bandwidth, memory } = link
  const guest = { memory: `${memory / MIB}MiB`, workload: 'web', pace: 'locked', content, seed: context.seed }
  const [report] = (await demo({ ...guest, movement: 'pre-copy', bandwidth, encode: 'adaptive' })) as [MigrationReport]
  const { checks, consistent, timeMs, pages } = report
  if (consistent !== true || checks.oracle !== true || checks.digest !== true) {
    throw new Error(`${content}, ${name}: ${JSON.stringify({ consistent, checks })}`)
  }
  const note = `${sharesOf(report)}. ${pages.encodeVerdict ?? 'nothing to decide'}`
  context.log(`${content}, ${name}: ${note}`)
  const row = { higherIsBetter: false, samples: [exactBytes(report) / memory] }
  return [
    { ...row, name: `${content}, ${name}: bytes over memory`, unit: '×', note },
    { ...row, name: `${content}, ${name}: total time`, unit: 's', samples: [timeMs.total / 1000] },
  ]
}

export async function encodingTable(context: Context): Promise<Row[]> {
  const rows: Row[] = []
  for (const content of CONTENTS) for (const link of LINKS) rows.push(...(await cell(context, content, link)))
  return rows
}
