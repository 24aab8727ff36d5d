// Two real agents for techniques that look at processes between migrations: started, driven and ended by the command
// line, as an operator would. Reads resident memory from /proc, so Linux only.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { promisify } from 'node:util'
import { type MigrationReport, reportSchema } from '../src/migration/report.ts'
import { COMMAND_LINES, type Form, godwit, reason } from './demo.ts'
import { ROOT } from './machine.ts'

const START_TIMEOUT_MS = 15_000
const POLL_MS = 5

export interface Agent {
  readonly url: string
  readonly process: ChildProcess
  readonly dataDir: string
}

/** Runs a command of the command line that must succeed; returns its one JSON document. */
async function command(...args: string[]): Promise<unknown> {
  const completed = await godwit([...args, '--json'])
  if (completed.status !== 0) throw new Error(`godwit ${args.join(' ')}: ${reason(completed)}`)
  const { stdout } = completed
  return stdout.trim() === '' ? null : JSON.parse(stdout)
}

/** Makes the published form of the sources as they are. */
export async function build(): Promise<void> {
  await promisify(execFile)('npm', ['run', '--silent', 'build'], { cwd: ROOT })
}

/** Starts an agent on loopback at a port the system chooses; resolves when it says where it is. */
export async function startAgent(name: string, form: Form): Promise<Agent> {
  const dataDir = mkdtempSync(join(tmpdir(), 'godwit-bench-'))
  const args = [COMMAND_LINES[form], 'agent', '--listen', '127.0.0.1:0', '--data-dir', dataDir, '--name', name]
  const child = spawn(process.execPath, [...args, '--stop-guests', '--json'], { stdio: ['ignore', 'pipe', 'ignore'] })
  const lines = createInterface({ input: child.stdout })
  const [line] = await once(lines, 'line', { signal: AbortSignal.timeout(START_TIMEOUT_MS) })
  return { url: (JSON.parse(line as string) as { url: string }).url, process: child, dataDir }
}

/** Ends an agent and its guests, and removes its data. */
export async function stopAgent(agent: Agent): Promise<void> {
  if (agent.process.exitCode === null && agent.process.signalCode === null) {
    const exit = once(agent.process, 'exit')
    agent.process.kill('SIGTERM')
    await exit
  }
  rmSync(agent.dataDir, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
}

/** Options of a command, by their names. */
type Options = Readonly<Record<string, string | number>>
const words = (options: Options): string[] =>
  Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)])

export async function startGuestAs(agent: Agent, name: string, options: Options): Promise<void> {
  await command('start', '--agent', agent.url, '--name', name, ...words(options))
}

export const startGuest = (agent: Agent, name: string, memory: string): Promise<void> =>
  startGuestAs(agent, name, { memory, workload: 'web', content: 'mix' })

/** Throws unless the migration completed with consistent memory. */
function arrived(document: unknown): MigrationReport {
  const report = reportSchema.parse(document)
  if (report.outcome !== 'completed' || report.consistent !== true) throw new Error(`migration ${report.outcome}`)
  return report
}

/** Migrates a guest; throws unless it completed with consistent memory. */
export async function migrateAs(name: string, from: Agent, to: Agent, options: Options): Promise<MigrationReport> {
  return arrived(await command('migrate', name, '--agent', from.url, '--to', to.url, ...words(options)))
}

/** Migrates guests as a gang; throws unless all of them completed with consistent memory. */
export async function gangOf(
  names: readonly string[],
  from: Agent,
  to: Agent,
  options: Options,
): Promise<MigrationReport[]> {
  const document = await command('migrate', ...names, '--agent', from.url, '--to', to.url, ...words(options))
  return (document as { reports: unknown[] }).reports.map(arrived)
}

function statusOf(pid: number): Record<string, string> {
  try {
    const lines = readFileSync(`/proc/${pid}/status`, 'utf8').split('\n')
    return Object.fromEntries(lines.map((line) => line.split(/:\s+/, 2) as [string, string]))
  } catch {
    return {}
  }
}

/** Resident bytes of a process now, or its peak; 0 when it is gone. */
export function residentBytes(pid: number, which: 'now' | 'peak' = 'now'): number {
  return Number.parseInt(statusOf(pid)[which === 'now' ? 'VmRSS' : 'VmHWM'] ?? '0', 10) * 1024
}

/** Guest processes that an agent started and that still live. */
export function childrenOf(agent: Agent): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => Number(statusOf(pid).PPid) === agent.process.pid && residentBytes(pid) > 0)
}

/** Milliseconds until the agent has no guest process left. Throws after ten seconds. */
export async function untilGuestsAreGone(agent: Agent): Promise<number> {
  const started = performance.now()
  while (childrenOf(agent).length > 0) {
    if (performance.now() - started > 10_000) throw new Error('a guest process stays after its guest has left')
    await sleep(POLL_MS)
  }
  return performance.now() - started
}
