// Where programs are found: built in, in a directory, and every way not to be found.

import { createHash } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, expect, test } from 'vitest'
import { BUILT_IN_PROGRAMS, programSource } from '../../src/programs/registry.ts'

const directory = mkdtempSync(join(tmpdir(), 'godwit-programs-'))
afterAll(() => rmSync(directory, { recursive: true }))
const content = "import type { Program } from 'godwit'\nexport const create = () => ({ step() {} })\n"
writeFileSync(join(directory, 'mine.ts'), content)
writeFileSync(join(directory, 'relative.mjs'), "import { x } from './other.mjs'\nexport const create = () => x\n")
const source = programSource(directory)
const hash = createHash('sha256').update(content).digest('hex')

test('built-in programs have no hash and keep the contract', async () => {
  for (const name of BUILT_IN_PROGRAMS) {
    expect(await source.hashOf(name)).toBeNull()
    expect(await import(await source.locate(name, null))).toHaveProperty('create')
  }
})

test('a file of the directory', async () => {
  expect(await source.hashOf('mine.ts')).toBe(hash)
  expect(await source.locate('mine.ts', hash)).toBe(pathToFileURL(join(directory, 'mine.ts')).href)
})

test('another content is refused with a hint', async () => {
  await expect(source.locate('mine.ts', '0'.repeat(64))).rejects.toMatchObject({
    code: 'program-differs',
    hint: "copy mine.ts to the other agent's --programs directory",
  })
})

test.each([
  ['absent.ts', 'program-missing'],
  ['../mine.ts', 'program-missing'],
  ['/etc/passwd', 'program-missing'],
  ['..', 'program-missing'],
  ['.hidden.ts', 'program-missing'],
  ['mine', 'program-invalid'],
  ['relative.mjs', 'program-invalid'],
])('%s: %s', async (name, code) => {
  await expect(source.locate(name, null)).rejects.toMatchObject({ code })
})

test('a module that Node.js would take for CommonJS is refused with a way out', async () => {
  const beside = join(directory, 'commonjs')
  mkdirSync(beside)
  writeFileSync(join(beside, 'package.json'), '{ "type": "commonjs" }')
  for (const name of ['mine.ts', 'mine.mts', 'plain.js']) writeFileSync(join(beside, name), content)
  writeFileSync(join(beside, 'old.js'), 'exports.create = () => ({ step() {} })\n')
  const there = programSource(beside)
  for (const [name, better] of [
    ['mine.ts', 'mine.mts'],
    ['plain.js', 'plain.mjs'],
  ] as const) {
    await expect(there.hashOf(name)).rejects.toMatchObject({
      code: 'program-invalid',
      message: `program '${name}' is CommonJS by the word of ${join(beside, 'package.json')}`,
      hint: `call it ${better}, or say "type": "module" there`,
    })
  }
  expect(await there.hashOf('mine.mts')).toBe(hash)
  expect(await there.hashOf('old.js')).not.toBeNull()
  writeFileSync(join(beside, 'package.json'), '{ "type": "module" }')
  expect(await there.hashOf('mine.ts')).toBe(hash)
})

test('without a directory there are only built-in programs', async () => {
  await expect(programSource(null).hashOf('mine.ts')).rejects.toMatchObject({ code: 'program-missing' })
  expect(() => programSource('relative/programs')).toThrow()
})
