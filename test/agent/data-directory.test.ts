// The lock of an agent's directory, and what is kept in it.

import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { DataDirectory } from '../../src/agent/data-directory.ts'
import { stubReport } from '../../src/agent/stub-report.ts'
import { GodwitError } from '../../src/errors.ts'
import { guestConfig } from '../support/config.ts'

let path: string
beforeEach(() => {
  path = mkdtempSync(join(tmpdir(), 'godwit-data-'))
})
afterEach(() => rmSync(path, { recursive: true, force: true }))

const codeOf = (action: () => unknown): string => {
  try {
    action()
  } catch (error) {
    return (error as GodwitError).code
  }
  return 'nothing thrown'
}

it('is held by one agent at a time, and free again after it', () => {
  const first = DataDirectory.open(path)
  expect(codeOf(() => DataDirectory.open(path))).toBe('data-dir-locked')
  first.close()
  DataDirectory.open(path).close()
})

it('respects a living holder and replaces a dead one', async () => {
  const other = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { stdio: 'ignore' })
  writeFileSync(join(path, 'agent.lock'), `${other.pid}\n`)
  expect(codeOf(() => DataDirectory.open(path))).toBe('data-dir-locked')
  other.kill('SIGKILL')
  await new Promise((resolve) => other.once('exit', resolve))
  DataDirectory.open(path).close()
})

it.each(['', 'nonsense', '-4', '0'])('replaces a lock that says %j', (content) => {
  writeFileSync(join(path, 'agent.lock'), content)
  DataDirectory.open(path).close()
})

it('says so when the directory cannot be used', () => {
  writeFileSync(join(path, 'file'), '')
  expect(codeOf(() => DataDirectory.open(join(path, 'file', 'below')))).toBe('data-dir-bad')
})

it('keeps the last 100 reports and reads none that is damaged', () => {
  const data = DataDirectory.open(path)
  for (let i = 0; i < 103; i++) {
    const id = i.toString(16).padStart(32, '0')
    const error = new GodwitError('internal', 'none')
    const names = { source: 'a', destination: 'b', settings: {}, outcome: 'failed', owner: 'source' } as const
    data.writeReport(stubReport({ id, guest: guestConfig(), ...names, error, totalMs: 1 }))
    utimesSync(join(path, 'reports', `${id}.json`), i, i)
  }
  const kept = data.keptReports()
  expect(kept).toHaveLength(100)
  expect(kept[0]).toBe('3'.padStart(32, '0'))
  expect(readdirSync(join(path, 'reports'))).toHaveLength(100)
  expect(data.readReport('4'.padStart(32, '0'))?.outcome).toBe('failed')
  expect(data.readReport('0'.repeat(32))).toBeNull()
  writeFileSync(join(path, 'reports', `${'4'.padStart(32, '0')}.json`), '{"version":1}')
  expect(data.readReport('4'.padStart(32, '0'))).toBeNull()
  data.close()
})

it('keeps the last word about a guest that left', () => {
  const data = DataDirectory.open(path)
  const migration = 'b'.repeat(32)
  const record = { version: 1, guest: 'g', epoch: 4, state: 'released', migration, role: 'source', peer: null } as const
  data.keepRecord(record)
  expect(data.keptRecord(migration)).toEqual(record)
  expect(data.keptRecord('c'.repeat(32))).toBeNull()
  data.close()
})
