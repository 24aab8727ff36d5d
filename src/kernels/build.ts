// Builds every NAME.wat of this folder into NAME.bytes.ts (`npm run kernels`). Only developers run it: the bytes are
// committed, so that no install needs an assembler and nothing is looked up by file path at run time. A test rebuilds
// and compares.

import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'

const FOLDER = new URL('./', import.meta.url)
/** Names of the modules: kernels.wat is `kernels`. */
export const MODULES = readdirSync(FOLDER)
  .filter((file) => file.endsWith('.wat'))
  .map((file) => file.slice(0, -'.wat'.length))

const FEATURES = { multi_memory: true, threads: true, simd: true, bulk_memory: true }

/** The part of wabt's interface used here; it is a developer's tool, so a published build does not need its types. */
interface Assembler {
  parseWat(
    name: string,
    text: string,
    features: Record<string, boolean>,
  ): {
    validate(features: Record<string, boolean>): void
    toBinary(options: object): { buffer: Uint8Array }
    destroy(): void
  }
}

/** The text of NAME.bytes.ts as it follows from NAME.wat. Throws wabt's message on a mistake in the source. */
export async function buildModule(name: string): Promise<string> {
  const { default: start } = (await import('wabt' as string)) as { default: () => Promise<Assembler> }
  const assembler = await start()
  // Line ends are made equal first, so that the hash does not depend on a checkout's settings.
  const text = readFileSync(new URL(`${name}.wat`, FOLDER), 'utf8').replaceAll('\r\n', '\n')
  const module = assembler.parseWat(`${name}.wat`, text, FEATURES)
  module.validate(FEATURES)
  const base64 = Buffer.from(module.toBinary({}).buffer).toString('base64')
  module.destroy()
  const lines = base64.match(/.{1,110}/g) ?? []
  return [
    `// Made from ${name}.wat by \`npm run kernels\`; do not edit. A test rebuilds it and compares.`,
    '',
    `/** SHA-256 of ${name}.wat, hex. */`,
    `export const SOURCE_SHA256 = '${createHash('sha256').update(text).digest('hex')}'`,
    '',
    '/** The WebAssembly module, base64. */',
    'export const MODULE_BASE64 =',
    lines.map((line) => `  '${line}'`).join(' +\n'),
    '',
  ].join('\n')
}

if (process.argv[1] !== undefined && resolve(process.argv[1]) === import.meta.filename) {
  for (const name of MODULES) {
    const text = await buildModule(name)
    writeFileSync(new URL(`${name}.bytes.ts`, FOLDER), text)
    console.log(`${name}.bytes.ts: ${text.length} characters`)
  }
}
