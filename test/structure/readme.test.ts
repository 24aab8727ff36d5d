// The README keeps its word: its program runs, its commands and scripts exist, its links lead somewhere.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { COMMANDS } from '../../src/cli/commands.ts'
import { Accessors } from '../../src/guest/accessors.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import type { ProgramModule } from '../../src/guest/program.ts'
import { registersOf } from '../../src/guest/safepoint.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const readme = readFileSync(join(ROOT, 'README.md'), 'utf8')
const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> }

describe('README', () => {
  it('shows a program of at most twenty lines that counts', async () => {
    const program = /```ts\n([^`]*export function create[^`]*)```/.exec(readme)?.[1] ?? ''
    expect(program.trim().split('\n').length).toBeLessThanOrEqual(20)
    const folder = mkdtempSync(join(tmpdir(), 'godwit-readme-'))
    try {
      const file = join(folder, 'counter.ts')
      writeFileSync(file, program)
      const { create } = (await import(pathToFileURL(file).href)) as ProgramModule
      const memory = GuestMemory.create(64 * 1024, 2)
      const registers = registersOf(memory, 1)
      const accessors = new Accessors(memory, registers)
      const context = { vcpu: 1, vcpus: 2, memoryBytes: 64 * 1024, options: {}, seed: 1, registers }
      // Sixteen pages, created anew before each step: nothing may live in the closure.
      for (let step = 0; step < 33; step++) create(context).step(accessors)
      expect([accessors.loadU32(4), accessors.loadU32(4096 + 4), accessors.loadU32(0)]).toEqual([3, 2, 0])
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  })

  it('names commands and scripts that exist', () => {
    const commands = [...readme.matchAll(/npm run -s godwit -- (\w+)/g)].map((match) => match[1] ?? '')
    expect(commands.length).toBeGreaterThan(5)
    const known = Object.keys(COMMANDS)
    expect(commands.filter((name) => !known.includes(name))).toEqual([])
    const named = [...readme.matchAll(/npm run (?:-s )?(\w+)/g)].map((match) => match[1] ?? '')
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([])
  })

  it('links only to files that are there', () => {
    for (const document of ['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md']) {
      const text = readFileSync(join(ROOT, document), 'utf8')
      const links = [...text.matchAll(/\]\((?!https?:)([^)#]+)/g)].map((match) => match[1] ?? '')
      expect(links.filter((link) => !existsSync(join(ROOT, link)))).toEqual([])
    }
  })
})
