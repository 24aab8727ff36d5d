// What the figures were measured on, and whether the processor was ours while they were. Used by harness.ts and main.ts.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import os from 'node:os'

export interface Machine {
  readonly processor: string
  readonly cores: number
  readonly memoryBytes: number
  readonly kernel: string
  readonly node: string
  readonly v8: string
  readonly godwit: string
  readonly commit: string
}

export const ROOT = new URL('../', import.meta.url)

function commit(): string {
  try {
    const git = (...args: string[]): string => execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).trim()
    return (
      git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain', '--', 'src') === '' ? '' : ' and changes')
    )
  } catch {
    return 'unknown'
  }
}

export function describeMachine(): Machine {
  const { version } = JSON.parse(readFileSync(new URL('package.json', ROOT), 'utf8')) as { version: string }
  return {
    processor: os.cpus()[0]?.model ?? 'unknown',
    cores: os.cpus().length,
    memoryBytes: os.totalmem(),
    kernel: `${os.type()} ${os.release()}`,
    node: process.version,
    v8: process.versions.v8,
    godwit: version,
    commit: commit(),
  }
}

/** Jiffies of all processors since boot; null where there is no /proc/stat. */
export interface ProcessorTime {
  readonly total: number
  readonly stolen: number
}

export function parseProcessorTime(stat: string): ProcessorTime | null {
  const line = stat.split('\n').find((text) => text.startsWith('cpu '))
  if (line === undefined) return null
  // user nice system idle iowait irq softirq steal; guest times behind them are part of user.
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number)
  return { total: ticks.reduce((sum, value) => sum + value, 0), stolen: ticks[7] ?? 0 }
}

export function processorTime(): ProcessorTime | null {
  try {
    return parseProcessorTime(readFileSync('/proc/stat', 'utf8'))
  } catch {
    return null
  }
}

/** Share of processor time that the machine's own host took between two readings. */
export function stolenShare(before: ProcessorTime | null, after: ProcessorTime | null): number {
  if (before === null || after === null || after.total <= before.total) return 0
  return (after.stolen - before.stolen) / (after.total - before.total)
}
