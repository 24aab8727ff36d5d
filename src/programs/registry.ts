// Where programs come from: built in by name, or one self-contained file from the agent's programs directory.

import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { findPackageJSON } from 'node:module'
import { basename, extname, isAbsolute, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { GodwitError } from '../errors.ts'
import type { GuestConfig } from '../guest/config.ts'
import type { ProgramSource } from '../guest/program.ts'
import { workerUrl } from '../worker-url.ts'
import { mutatorOptions } from './mutator.ts'
import { LAMBDA } from './workloads.ts'

/** Names of the built-in programs and their modules. */
const BUILT_IN: ReadonlyMap<string, string> = new Map([
  ['mutator', './mutator'],
  ['counter', './counter'],
  ['kv', './kv/program'],
])
/** Programs whose steps are requests; theirs is a service (src/service), and no replay can tell what they were asked. */
const SERVING: readonly string[] = ['kv']
/** Those that are offered to users. */
export const BUILT_IN_PROGRAMS: readonly string[] = ['mutator', 'counter', 'kv']
const EXTENSIONS = ['.ts', '.mts', '.js', '.mjs']
/** λ of a locked guest whose program says nothing of its own. */
const DEFAULT_LAMBDA = 1

/** Whether a guest with this program serves requests. */
export const serves = (program: string): boolean => SERVING.includes(program)

/** The pace of a guest that was given none: what serves is to answer whatever is asked. */
export const defaultPace = (program: string): GuestConfig['pace'] => ({
  kind: 'free',
  perSecond: serves(program) ? null : 20_000,
})

/** Programs of one host. */
export interface Programs extends ProgramSource {
  /** SHA-256 of the program's file, hex; null for a built-in one. Throws `program-missing` or `program-invalid`. */
  hashOf(program: string): Promise<string | null>
}

/** The programs a host knows: the built-in ones and the files of `directory` (absolute), if there is one. */
export function programSource(directory: string | null): Programs {
  if (directory !== null && !isAbsolute(directory)) {
    throw new GodwitError('usage', `programs directory '${directory}' is not an absolute path`)
  }
  const hashOf = async (program: string): Promise<string | null> =>
    BUILT_IN.has(program) ? null : hash(await readProgram(directory, program))
  const locate = async (program: string, programHash: string | null): Promise<string> => {
    const found = await hashOf(program)
    if (programHash !== null && found !== programHash) {
      throw new GodwitError('program-differs', `program ${program} has another content here`, {
        hint: `copy ${program} to the other agent's --programs directory`,
      })
    }
    const builtIn = BUILT_IN.get(program)
    if (builtIn !== undefined) return workerUrl(import.meta.url, builtIn).href
    return pathToFileURL(join(directory as string, program)).href
  }
  return { hashOf, locate }
}

const hash = (content: Buffer): string => createHash('sha256').update(content).digest('hex')

async function readProgram(directory: string | null, program: string): Promise<Buffer> {
  if (program !== basename(program) || program.includes('\\') || program.startsWith('.')) {
    throw new GodwitError('program-missing', `'${program}' is a path, not the name of a program`, {
      hint: "give a file name from the agent's --programs directory",
    })
  }
  const missing = (cause?: unknown): GodwitError =>
    new GodwitError('program-missing', `no program '${program}' here`, {
      cause,
      hint:
        directory === null
          ? `built in are ${BUILT_IN_PROGRAMS.join(', ')}; for your own start the agent with --programs DIR`
          : `copy ${program} to this agent's --programs directory`,
    })
  if (directory === null) throw missing()
  if (!EXTENSIONS.includes(extname(program))) {
    throw new GodwitError('program-invalid', `program '${program}' is no module`, {
      hint: `its name ends in ${EXTENSIONS.join(', ')}`,
    })
  }
  const content = await readFile(join(directory, program)).catch((cause: unknown) => {
    throw missing(cause)
  })
  // A relative import would not be covered by the hash. Type imports are erased.
  const text = content.toString('utf8')
  if (/^\s*(import|export)\s(?!type\b)[^'"]*['"]\.{1,2}\//m.test(text)) {
    throw new GodwitError('program-invalid', `program '${program}' imports other files`, {
      hint: 'a program is one self-contained file',
    })
  }
  if (/^\s*export\s/m.test(text)) await mustLoadAsModule(directory, program)
  return content
}

/** `npm init` writes `"type": "commonjs"`, and Node.js then does not take a `.ts` or `.js` file beside it for a module. */
async function mustLoadAsModule(directory: string, program: string): Promise<void> {
  if (!['.ts', '.js'].includes(extname(program))) return
  const manifest = findPackageJSON(pathToFileURL(join(directory, program)))
  if (manifest === undefined) return
  const text = await readFile(manifest, 'utf8').catch(() => '')
  if (!/"type"\s*:\s*"commonjs"/.test(text)) return
  throw new GodwitError('program-invalid', `program '${program}' is CommonJS by the word of ${manifest}`, {
    hint: `call it ${program.replace(/\.(.)s$/, '.m$1s')}, or say "type": "module" there`,
  })
}

/** Steps granted per page record to a locked guest: what it asks for, else its workload's own λ; null at a free pace. */
export function lockedLambda(config: GuestConfig): number | null {
  if (config.pace.kind !== 'locked') return null
  if (config.pace.lambda !== null) return config.pace.lambda
  return config.program === 'mutator' ? LAMBDA[mutatorOptions(config.options).workload] : DEFAULT_LAMBDA
}
