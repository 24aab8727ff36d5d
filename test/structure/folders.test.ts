// Keeps the folders in order: what may import what, and a few rules of style that no linter knows.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join, relative, resolve, sep } from 'node:path'
import { describe, expect, it } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
const SOURCE = join(ROOT, 'src')
/** A folder imports only folders of its own rank or a lower one; files at the top of src are free for all. */
const RANK: Record<string, number> = {
  kernels: 0,
  guest: 1,
  programs: 2,
  encoding: 2,
  wire: 3,
  migration: 4,
  service: 5,
  'guest-process': 6,
  gateway: 7,
  load: 8,
  agent: 9,
  cli: 10,
}
/** The public face may import from everywhere. */
const PUBLIC_FACE = 'index.ts'
const MAX_LINES = 400

function filesUnder(folder: string): string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => join(entry.parentPath, entry.name))
    .sort()
}

interface Source {
  readonly path: string
  readonly text: string
}
const read = (folder: string): Source[] =>
  filesUnder(join(ROOT, folder)).map((path) => ({
    path: relative(ROOT, path).split(sep).join('/'),
    text: readFileSync(path, 'utf8'),
  }))

const sources = read('src')
const everything = [...sources, ...read('native-free-bench'), ...read('test')]

/** Modules a file imports at run time or as types, relative ones only, as paths from `src/`. */
function importsOf(source: Source): { target: string; typeOnly: boolean }[] {
  const found: { target: string; typeOnly: boolean }[] = []
  const pattern = /^(?:import|export)\s+(type\s+)?[^'"]*?from\s+['"](\.[^'"]+)['"]/gm
  for (const match of source.text.matchAll(pattern)) {
    const target = relative(SOURCE, resolve(ROOT, source.path, '..', match[2] ?? ''))
      .split(sep)
      .join('/')
    found.push({ target, typeOnly: match[1] !== undefined })
  }
  return found
}

/** The folder of a path relative to src; '' for a file at the top. */
const folderOf = (path: string): string => (path.includes('/') ? path.slice(0, path.indexOf('/')) : '')

describe('folders', () => {
  it('every folder of src has its place in the order', () => {
    const unknown = new Set(sources.map((s) => folderOf(s.path.slice(4))).filter((f) => f !== '' && !(f in RANK)))
    expect([...unknown]).toEqual([])
  })

  it('a folder depends only on folders before it', () => {
    const wrong: string[] = []
    for (const source of sources) {
      const path = source.path.slice('src/'.length)
      const from = folderOf(path)
      for (const { target, typeOnly } of importsOf(source)) {
        const to = folderOf(target)
        if (path === PUBLIC_FACE || to === '' || from === to) continue
        // The top-level contracts (events.ts) may name types of the folders below them, never their code.
        if (from === '') {
          if (!typeOnly) wrong.push(`${path} → ${target}`)
          continue
        }
        const [rankFrom, rankTo] = [RANK[from] ?? -1, RANK[to] ?? 99]
        const allowed = from === 'kernels' ? to === 'guest' && typeOnly : rankTo < rankFrom
        if (!allowed) wrong.push(`${path} → ${target}`)
      }
    }
    expect(wrong).toEqual([])
  })

  it('only the public face and tests import src/index.ts', () => {
    expect(sources.filter((s) => importsOf(s).some((i) => i.target === PUBLIC_FACE)).map((s) => s.path)).toEqual([])
  })
})

describe('tidy', () => {
  const offenders = (files: Source[], broken: (source: Source) => boolean): string[] =>
    files.filter(broken).map((source) => source.path)

  it('every file begins with what it is for', () => {
    expect(offenders(everything, (s) => !/^(#![^\n]*\n)?\s*(\/\/|\/\*)/.test(s.text))).toEqual([])
  })

  it(`no file is longer than ${MAX_LINES} lines`, () => {
    const long = (s: Source): boolean =>
      !s.path.endsWith('.bytes.ts') && s.text.trimEnd().split('\n').length > MAX_LINES
    expect(offenders(everything, long)).toEqual([])
  })

  it('no default exports, enums or namespaces in src', () => {
    expect(offenders(sources, (s) => /^export default\b|^(export )?(const )?enum\b/m.test(s.text))).toEqual([])
    const namespaces = (s: Source): boolean => !s.path.endsWith('.d.ts') && /^(export )?namespace\b/m.test(s.text)
    expect(offenders(sources, namespaces)).toEqual([])
  })

  it('nothing is left for later', () => {
    const unfinished = new RegExp(['TO', 'DO|FIX', 'ME|XX', 'X|not imple', 'mented'].join(''))
    expect(offenders(everything, (s) => unfinished.test(s.text))).toEqual([])
  })

  it('no test is silenced or alone', () => {
    const silenced = /\b(it|test|describe)\.(only|skip|todo)\(/
    expect(offenders(everything, (s) => silenced.test(s.text))).toEqual([])
  })

  it('no names that say nothing', () => {
    expect(offenders(everything, (s) => /(^|\/)(utils?|helpers?|manager|common|misc)(\.ts|\/)/.test(s.path))).toEqual(
      [],
    )
  })

  it('no absolute path of one machine', () => {
    expect(offenders(everything, (s) => /['"`](\/home\/|\/root\/|\/work\/)/.test(s.text))).toEqual([])
  })
})

describe('rules', () => {
  it('every rule the code cites stands in docs/rules.md', () => {
    const known = new Set(readFileSync(join(ROOT, 'docs/rules.md'), 'utf8').match(/\bR\d+\b/g))
    expect(known.size).toBeGreaterThanOrEqual(31)
    const missing: string[] = []
    for (const source of sources) {
      for (const comment of source.text.match(/\/\/.*|\/\*[\s\S]*?\*\//g) ?? []) {
        for (const [rule] of comment.matchAll(/\bR\d+\b/g))
          if (!known.has(rule)) missing.push(`${source.path}: ${rule}`)
      }
    }
    expect(missing).toEqual([])
  })
})

describe('the lock file', () => {
  interface Locked {
    readonly optionalDependencies?: Record<string, string>
    readonly resolved?: string
  }
  const { packages } = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as {
    packages: Record<string, Locked>
  }

  it('has every platform of every optional dependency, or npm ci refuses it', () => {
    const wanted = Object.values(packages).flatMap((entry) => Object.keys(entry.optionalDependencies ?? {}))
    expect(wanted.filter((name) => packages[`node_modules/${name}`] === undefined)).toEqual([])
  })

  it('names no registry', () => {
    expect(Object.values(packages).filter((entry) => entry.resolved !== undefined)).toEqual([])
  })
})
