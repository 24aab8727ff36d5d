// The committed bytes are what kernels.wat says.

import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { buildKernels } from '../../src/kernels/build.ts'

const source = (name: string): string =>
  readFileSync(new URL(`../../src/kernels/${name}`, import.meta.url), 'utf8').replaceAll('\r\n', '\n')

it('bytes.ts is a fresh build of kernels.wat (npm run kernels)', async () => {
  expect(await buildKernels()).toBe(source('bytes.ts'))
})

it('kernels.wat is plain ASCII, as the assembler needs', () => {
  expect(source('kernels.wat')).toMatch(/^[\n\x20-\x7e]*$/)
})
