// The bench's command line: what it lists, what it refuses, and that one technique runs, is written and is compared.

import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'

const MAIN = resolve(import.meta.dirname, '../../native-free-bench/main.ts')
const folder = mkdtempSync(join(tmpdir(), 'godwit-bench-test-'))
const bench = (...args: string[]) => spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' })

afterAll(() => rmSync(folder, { recursive: true, force: true }))

describe('the bench', () => {
  it('lists its techniques', () => {
    const { stdout, status } = bench('--list')
    expect(status).toBe(0)
    for (const name of [
      'ceiling',
      'kernels',
      'codecs',
      'encodings',
      'write-barrier',
      'idle-rate',
      'switchover',
      'locked-bytes',
      'memory',
    ]) {
      expect(stdout).toMatch(new RegExp(`^${name} `, 'm'))
    }
  })

  it.each([['nonsense'], ['--nonsense'], ['--repetitions', '0'], ['--seed', 'x'], ['--compare', 'missing.json']])(
    'refuses %s',
    (...args) => {
      const { stderr, status } = bench(...args)
      expect(status).toBe(2)
      expect(stderr).toContain('usage: npm run bench')
    },
  )

  it('writes what it measured and compares with it later', () => {
    const file = join(folder, 'bench.json')
    const first = bench('kernels', '--quick', '--repetitions', '1', '--json', file)
    expect(first.status).toBe(0)
    const document = JSON.parse(readFileSync(file, 'utf8'))
    expect(document).toMatchObject({ version: 1, seed: 1, quick: true, repetitions: 1, failed: [] })
    expect(document.machine.node).toBe(process.version)
    expect(document.outcomes[0].technique).toBe('kernels')
    expect(document.outcomes[0].rows[0].samples).toHaveLength(1)
    const second = bench('kernels', '--quick', '--repetitions', '1', '--compare', file)
    expect(second.status).toBe(0)
    expect(second.stdout).toMatch(/before[\s\S]*→ (same|better|worse)/)
  })
})
