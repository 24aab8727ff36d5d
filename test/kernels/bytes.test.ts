// The committed bytes are what the sources say.

import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { buildModule, MODULES } from '../../src/kernels/build.ts'

const source = (name: string): string =>
  readFileSync(new URL(`../../src/kernels/${name}`, import.meta.url), 'utf8').replaceAll('\r\n', '\n')

it.each(MODULES)('%s.bytes.ts is a fresh build of its source (npm run kernels)', async (name) => {
  expect(await buildModule(name)).toBe(source(`${name}.bytes.ts`))
})

it.each(MODULES)('%s.wat is plain ASCII, as the assembler needs', (name) => {
  expect(source(`${name}.wat`)).toMatch(/^[\n\x20-\x7e]*$/)
})
