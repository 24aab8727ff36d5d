// One run of `godwit demo --json` for the soaks, from a process of its own as a user would start it.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { MigrationReport } from '../../src/migration/report.ts'

const COMMAND_LINE = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

export interface Demo {
  readonly passed: boolean
  readonly report: MigrationReport | null
}

/** Runs a demo and prints one line about it. */
export async function demo(options: readonly string[]): Promise<Demo> {
  const startedAt = performance.now()
  const { stdout, stderr, status } = spawnSync(process.execPath, [COMMAND_LINE, 'demo', '--json', ...options], {
    encoding: 'utf8',
    maxBuffer: 64 * 1024 * 1024,
  })
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1)
  const report = stdout.trim() === '' ? null : (JSON.parse(stdout) as MigrationReport)
  const passed = status === 0 && report !== null && isProven(report) && isSentOnce(report)
  const figures =
    report === null
      ? stderr.trim()
      : `${report.outcome}, consistent ${report.consistent}, ${report.rounds.length} rounds, ${pullText(report)}` +
        `${report.pages.duplicateFactor.toFixed(2)}× memory, downtime ${report.timeMs.downtime.toFixed(1)} ms`
  console.log(`${passed ? 'ok    ' : 'FAILED'} ${options.join(' ')}: ${figures} (${seconds} s)`)
  if (!passed && report !== null)
    console.log(`       ${JSON.stringify([report.error, report.checks, report.pull])} ${stderr.trim()}`)
  else if (stderr !== '') console.log(`       ${stderr.trim()}`)
  return { passed, report }
}

/** It arrived, and all three checks ran and agreed. */
function isProven({ outcome, owner, consistent, checks }: MigrationReport): boolean {
  const agreed = checks.digest === true && checks.audit === true && checks.oracle === true
  return outcome === 'completed' && owner === 'destination' && consistent === true && agreed
}

/** Without cuts no page travels twice in a pull, and in post-copy none at all. */
function isSentOnce({ movement, pages, pull }: MigrationReport): boolean {
  if (pull === undefined || pull.recoveries > 0) return true
  const once = pull.pushed + pull.asked + pull.skipped <= pull.pages
  return once && (movement !== 'post-copy' || pages.duplicateFactor <= 1)
}

function pullText({ pull, faults }: MigrationReport): string {
  if (pull === undefined) return ''
  return `pulled ${pull.pages}, ${faults?.network} faults, ${pull.recoveries} recoveries, `
}

/** Ends the process with the verdict over all runs. */
export function finish(runs: readonly Demo[]): never {
  const failed = runs.filter(({ passed }) => !passed).length
  console.log(`${runs.length - failed} passed, ${failed} failed`)
  process.exit(failed === 0 ? 0 : 1)
}
