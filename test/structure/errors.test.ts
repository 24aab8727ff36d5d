// docs/errors.md lists exactly the codes there are; GODWIT_WRITE_DOCS=1 writes it anew.

import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { expect, it } from 'vitest'
import { ERROR_CODES } from '../../src/errors.ts'

const PATH = resolve(import.meta.dirname, '../../docs/errors.md')
const WIDTH = Math.max(...Object.keys(ERROR_CODES).map((code) => code.length)) + 2

const document = `# Error codes

Every error that Godwit raises has one of these codes. It is printed on the command line, stored in reports, returned by
the HTTP API and sent to the peer of a migration, so both hosts name the same cause. Codes are stable; messages and
hints are not. This table is generated from \`src/errors.ts\`; a test compares them.

| ${'code'.padEnd(WIDTH)} | meaning |
|${'-'.repeat(WIDTH + 2)}|---------|
${Object.entries(ERROR_CODES)
  .map(([code, meaning]) => `| ${`\`${code}\``.padEnd(WIDTH)} | ${meaning} |`)
  .join('\n')}
`

it('docs/errors.md equals the table in src/errors.ts', () => {
  if (process.env.GODWIT_WRITE_DOCS === '1') writeFileSync(PATH, document)
  expect(readFileSync(PATH, 'utf8'), 'write it anew: GODWIT_WRITE_DOCS=1 npx vitest run test/structure').toBe(document)
})
