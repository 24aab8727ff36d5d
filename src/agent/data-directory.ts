// The agent's directory: who holds it, where guests, reports and ownership records lie. Only the agent calls this.
//
//   agent.json            pid and address of the agent that holds it
//   guests/ID/            guest.json, guest.sock, guest.log, ownership.jsonl of one guest
//   reports/MIGRATION.json  the last 100
//   records/MIGRATION.json  the ownership record of a guest that left, for a peer that asks late (R20)

import { linkSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { GodwitError } from '../errors.ts'
import { bootId } from '../guest-process/boot-id.ts'
import { writeJsonFile } from '../guest-process/guest-file.ts'
import { isAlive } from '../guest-process/supervise.ts'
import { REPORTS_KEPT } from '../limits.ts'
import type { OwnershipRecord } from '../migration/ownership-record.ts'
import { recordSchema } from '../migration/ownership-record.ts'
import { type MigrationReport, reportSchema } from '../migration/report.ts'

const LOCK = 'agent.lock'

export class DataDirectory {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  /** Makes and locks the directory. Throws `data-dir-locked` while a living agent holds it, or `data-dir-bad`. */
  static open(path: string): DataDirectory {
    const directory = new DataDirectory(resolve(path))
    try {
      for (const child of ['guests', 'reports', 'records']) mkdirSync(join(directory.path, child), { recursive: true })
      directory.#lock()
    } catch (cause) {
      if (cause instanceof GodwitError) throw cause
      throw new GodwitError('data-dir-bad', `cannot use ${directory.path}: ${(cause as Error).message}`, {
        hint: 'give a directory you may write to with --data-dir',
        cause,
      })
    }
    return directory
  }

  /** Writes the lock beside and links it into place: the link is the one atomic step. */
  #lock(): void {
    const lock = join(this.path, LOCK)
    const mine = `${lock}.${process.pid}`
    writeFileSync(mine, `${process.pid} ${startOf(process.pid)}\n`)
    try {
      for (let attempt = 0; ; attempt++) {
        try {
          linkSync(mine, lock)
          return
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'EEXIST' || attempt > 3) throw error
        }
        const holder = holderOf(lock)
        if (holder !== null && holder !== process.pid && isHeldBy(lock, holder)) throw locked(this.path, holder)
        if (holder === process.pid && heldHere.has(this.path)) throw locked(this.path, holder)
        rmSync(lock, { force: true })
      }
    } finally {
      rmSync(mine, { force: true })
      if (holderOf(lock) === process.pid) heldHere.add(this.path)
    }
  }

  /** Gives the directory back. */
  close(): void {
    heldHere.delete(this.path)
    const lock = join(this.path, LOCK)
    if (holderOf(lock) === process.pid) rmSync(lock, { force: true })
  }

  guestDirectory(id: string): string {
    return join(this.path, 'guests', id)
  }

  guestDirectories(): string[] {
    return readdirSync(join(this.path, 'guests')).map((id) => this.guestDirectory(id))
  }

  removeGuest(id: string): void {
    rmSync(this.guestDirectory(id), { recursive: true, force: true })
  }

  get reportsDirectory(): string {
    return join(this.path, 'reports')
  }

  /** A report that was kept; null when there is none or it cannot be read. */
  readReport(migration: string): MigrationReport | null {
    const parsed = reportSchema.safeParse(readJson(join(this.reportsDirectory, `${migration}.json`)))
    return parsed.success ? parsed.data : null
  }

  writeReport(report: MigrationReport): void {
    writeJsonFile(join(this.reportsDirectory, `${report.id}.json`), report)
  }

  /** Ids of the kept reports, oldest first; deletes all but the last 100. */
  keptReports(): string[] {
    return keepNewest(this.reportsDirectory)
  }

  /** Keeps the last word about a guest that is no longer here. */
  keepRecord(record: OwnershipRecord): void {
    if (record.migration === null) return
    writeJsonFile(join(this.path, 'records', `${record.migration}.json`), record)
    keepNewest(join(this.path, 'records'))
  }

  keptRecord(migration: string): OwnershipRecord | null {
    const parsed = recordSchema.safeParse(readJson(join(this.path, 'records', `${migration}.json`)))
    return parsed.success ? parsed.data : null
  }
}

/** Directories locked by agents of this process (tests run several in one). */
const heldHere = new Set<string>()

const locked = (path: string, holder: number): GodwitError =>
  new GodwitError('data-dir-locked', `${path} is used by the agent of process ${holder}`, {
    hint: 'stop that agent, or give this one another --data-dir',
  })

/** Process numbers are used again, after a restart of the machine very soon: the time of its start tells them apart. */
function isHeldBy(lock: string, pid: number): boolean {
  if (!isAlive(pid)) return false
  const started = readFileSync(lock, 'utf8').trim().split(' ')[1]
  const now = startOf(pid)
  return started === undefined || now === '' || started === now
}

/** When a process was started, in the kernel's own words, with the boot it belongs to; empty where there is no /proc. */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return `${bootId()}:${stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]}`
  } catch {
    return ''
  }
}

function holderOf(lock: string): number | null {
  try {
    const pid = Number(readFileSync(lock, 'utf8').split(' ')[0])
    return Number.isInteger(pid) && pid > 0 ? pid : null
  } catch {
    return null
  }
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, 'utf8'))
  } catch {
    return null
  }
}

/** Ids of the files of that form, oldest first; none when the directory cannot be read. */
function keepNewest(directory: string): string[] {
  const files = namesIn(directory)
    .filter((name) => /^[0-9a-f]{32}\.json$/.test(name))
    .map((name) => ({ name, time: statSync(join(directory, name), { throwIfNoEntry: false })?.mtimeMs ?? 0 }))
    .sort((a, b) => a.time - b.time)
  for (const { name } of files.splice(0, Math.max(0, files.length - REPORTS_KEPT))) {
    rmSync(join(directory, name), { force: true })
  }
  return files.map(({ name }) => name.slice(0, 32))
}
