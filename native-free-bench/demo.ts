// Whole migrations for the bench: runs `godwit demo --json` as a child process and reads its MigrationReports.

import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { type MigrationReport, reportSchema } from '../src/migration/report.ts'
import { ROOT } from './machine.ts'

export const MIB = 1024 ** 2
export const GIB = 1024 ** 3

/** What runs, agents and guests included: the published form, or the sources, whose types Node.js strips as it loads them. */
export type Form = 'build' | 'sources'
export const COMMAND_LINES: Record<Form, string> = {
  build: fileURLToPath(new URL('dist/cli/main.js', ROOT)),
  sources: fileURLToPath(new URL('src/cli/main.ts', ROOT)),
}
const TIMEOUT_MS = 180_000
const ERROR_TAIL = 600

/** Options of `godwit demo` without their dashes; `true` is a switch. */
export type DemoOptions = Record<string, string | number | true>

export interface Completed {
  readonly stdout: string
  readonly stderr: string
  readonly status: number | null
}

/** Runs the command line from the checkout to its end. */
export function godwit(args: readonly string[], form: Form = 'sources'): Promise<Completed> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [COMMAND_LINES[form], ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
    // SIGINT, so that a demo that hangs still takes its agents and guests along.
    const timer = setTimeout(() => child.kill('SIGINT'), TIMEOUT_MS)
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => {
      stdout += chunk.toString()
    })
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk.toString()
    })
    child.once('error', reject)
    child.once('close', (status) => {
      clearTimeout(timer)
      resolve({ stdout, stderr, status })
    })
  })
}

/** Why a command failed: what it says on standard error, else the error in the document it printed. */
export function reason({ stdout, stderr, status }: Completed): string {
  const said = stderr.slice(-ERROR_TAIL).trim()
  if (said !== '') return `exit status ${status}: ${said}`
  try {
    const document = JSON.parse(stdout) as { error?: unknown; hops?: { error?: unknown }[] }
    return `exit status ${status}: ${JSON.stringify(document.error ?? document.hops?.at(-1)?.error)}`
  } catch {
    return `exit status ${status}`
  }
}

/** The reports of one demo, one a hop, every one completed and not inconsistent. Throws with what the demo said. */
export async function demo(options: DemoOptions, form: Form = 'sources'): Promise<MigrationReport[]> {
  const args = Object.entries(options).flatMap(([name, value]) =>
    value === true ? [`--${name}`] : [`--${name}`, String(value)],
  )
  const completed = await godwit(['demo', '--json', ...args], form)
  const failed = (why: string): Error => new Error(`demo ${args.join(' ')}: ${why}`)
  if (completed.status !== 0) throw failed(reason(completed))
  const document = JSON.parse(completed.stdout) as { hops?: unknown[] }
  const reports = (document.hops ?? [document]).map((hop) => reportSchema.parse(hop))
  for (const report of reports) {
    if (report.outcome !== 'completed') throw failed(`outcome ${report.outcome}`)
    if (report.consistent === false) throw failed('inconsistent memory')
  }
  return reports
}

/** The last hop of a demo; with `hops: 1` the way back, whose memory the way there has just given back: warm. */
export async function lastHop(options: DemoOptions): Promise<MigrationReport> {
  const reports = await demo(options)
  return reports[reports.length - 1] as MigrationReport
}

/** Guest bytes over the time in which they moved (iterate and stop), GB/s. */
export function rateOf(report: MigrationReport): number {
  const { iterate = 0, stop = 0 } = report.timeMs.stages
  return report.guest.memoryBytes / 1e6 / (iterate + stop)
}

/** CPU seconds of both sides for each GiB of guest. */
export function cpuPerGiB(report: MigrationReport): number {
  const { sourceCpuMs, destinationCpuMs } = report.resources
  return (sourceCpuMs + destinationCpuMs) / 1000 / (report.guest.memoryBytes / GIB)
}

/** Page data and what wraps it, without the control messages whose number depends on time. */
export const exactBytes = (report: MigrationReport): number => report.bytes.sent - report.bytes.control
