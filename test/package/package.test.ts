// The published package: packs the build, installs it into an empty project and uses the command and the library there.

import { execFile } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
const execute = promisify(execFile)
const version = (JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { version: string }).version

/** Runs a command; what it printed becomes the error's message when it fails. */
async function run(command: string, args: string[], cwd: string): Promise<string> {
  try {
    return (await execute(command, args, { cwd, env: cleanEnvironment(), maxBuffer: 16 * 1024 * 1024 })).stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${command} ${args.join(' ')}\n${stdout}\n${stderr}`, { cause: error })
  }
}

/** An environment without what npm and vitest set for their own scripts, so that the empty project stands alone. */
function cleanEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(npm_(?!config_)|VITEST|NODE_ENV|NODE_OPTIONS)/i.test(name),
  )
  return Object.fromEntries(kept)
}

describe('the published package', () => {
  let project = ''
  const inProject = (command: string, args: string[]): Promise<string> => run(command, args, project)

  beforeAll(async () => {
    project = mkdtempSync(join(tmpdir(), 'godwit-package-'))
    await run('npm', ['pack', '--pack-destination', project], ROOT)
    const tarball = readdirSync(project).find((name) => name.endsWith('.tgz'))
    if (tarball === undefined) throw new Error('npm pack made no tarball')
    writeFileSync(join(project, 'package.json'), '{ "name": "empty", "private": true, "type": "module" }\n')
    await inProject('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', `./${tarball}`])
  }, 240_000)

  afterAll(() => rmSync(project, { recursive: true, force: true }))

  it('holds the build and the documents, and no sources or tests', () => {
    const installed = join(project, 'node_modules/godwit')
    const files = readdirSync(installed, { recursive: true }).map(String)
    for (const wanted of ['dist/index.js', 'dist/index.d.ts', 'dist/cli/main.js', 'README.md', 'LICENSE']) {
      expect(files).toContain(wanted)
    }
    expect(files.filter((file) => /^(src|test|native-free-bench|\.ci)\b/.test(file))).toEqual([])
    expect(readFileSync(join(installed, 'dist/cli/main.js'), 'utf8')).toMatch(/^#!\/usr\/bin\/env node\n/)
  })

  it('its command says its version and its help', async () => {
    expect(await inProject('npx', ['--no-install', 'godwit', '--version'])).toContain(version)
    const help = await inProject('npx', ['--no-install', 'godwit', '--help'])
    for (const command of ['agent', 'migrate', 'demo']) expect(help).toContain(command)
  }, 60_000)

  it('its library can be imported', async () => {
    const script =
      "const { Guest, GodwitError } = await import('godwit'); console.log(typeof Guest, typeof GodwitError)"
    const printed = await inProject('node', ['--input-type=module', '-e', script])
    expect(printed.trim()).toBe('function function')
  }, 60_000)

  it('its command migrates a guest', async () => {
    const args = ['--no-install', 'godwit', 'demo', '--memory', '16MiB', '--json']
    const report = JSON.parse(await inProject('npx', args)) as { outcome: string; consistent: boolean }
    expect(report).toMatchObject({ outcome: 'completed', consistent: true })
  }, 120_000)
})
