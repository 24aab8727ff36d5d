// The bench's output for people: one table a technique, the required and the published figure beside the measured one.

import type { Finished, Outcome } from './harness.ts'
import type { Machine } from './machine.ts'
import { type Bound, compare } from './statistics.ts'

const VERDICTS = { pass: 'pass', fail: 'FAIL', info: '' } as const

/** A number with three significant digits, never in exponent form. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return String(value)
  const size = Math.abs(value)
  if (size >= 1000) return Math.round(value).toLocaleString('en-US')
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3)
}

const bound = (required: Bound | undefined): string =>
  required === undefined ? '' : 'atMost' in required ? `≤ ${digits(required.atMost)}` : `≥ ${digits(required.atLeast)}`

function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => [...(row[column] ?? '')].length)))
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column] ?? 0) : cell.padStart(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  )
}

function change(row: Finished, older: Finished | undefined): string {
  if (older === undefined) return 'new'
  const { ratio, kind } = compare(older.summary, row.summary, row.higherIsBetter)
  return `${digits(older.summary.median)} → ${kind} (${ratio.toFixed(2)}×)`
}

/** The lines for one technique; `older` is the same technique in the run compared with. */
export function printOutcome(outcome: Outcome, older: Outcome | undefined, comparing: boolean): string[] {
  const heading = [
    '',
    'median',
    'unit',
    'spread',
    'runs',
    'required',
    'published',
    '',
    ...(comparing ? ['before'] : []),
  ]
  const rows = outcome.rows.map((row) => [
    row.name,
    digits(row.summary.median),
    row.unit,
    `${(row.summary.spread * 100).toFixed(0)} %`,
    String(row.summary.count),
    bound(row.required),
    row.published === undefined ? '' : `${digits(row.published.value)} ${row.published.by}`,
    VERDICTS[row.verdict],
    ...(comparing
      ? [
          change(
            row,
            older?.rows.find((other) => other.name === row.name),
          ),
        ]
      : []),
  ])
  const notes = outcome.rows.filter((row) => row.note !== undefined).map((row) => `  ${row.name}: ${row.note}`)
  const stolen = [
    ...(outcome.repeated > 0 ? [`  ${outcome.repeated} runs repeated: the processor was taken away`] : []),
    ...(outcome.stolen > 0 ? [`  ${outcome.stolen} runs kept although the processor was taken away`] : []),
  ]
  return [
    '',
    `${outcome.technique} (${outcome.seconds.toFixed(0)} s)`,
    ...(outcome.error === undefined ? table([heading, ...rows]) : [`  FAIL: ${outcome.error}`]),
    ...notes,
    ...stolen,
  ]
}

export function printMachine(machine: Machine): string {
  const memory = (machine.memoryBytes / 1024 ** 3).toFixed(0)
  return (
    `godwit ${machine.godwit} (${machine.commit}) on Node.js ${machine.node}, ${machine.kernel}, ` +
    `${machine.cores} × ${machine.processor}, ${memory} GiB`
  )
}
