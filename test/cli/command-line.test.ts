// Help, versions and every kind of mistake on the command line: one line, a hint, and the promised exit status.

import { afterEach, describe, expect, it } from 'vitest'
import { parseListen, parsePorts } from '../../src/cli/commands/agent.ts'
import { COMMANDS } from '../../src/cli/commands.ts'
import { parsePace } from '../../src/cli/moving.ts'
import { version } from '../../src/cli/version.ts'
import { godwit } from './buffer-terminal.ts'

const environment = process.env.GODWIT_AGENT
afterEach(() => {
  if (environment === undefined) delete process.env.GODWIT_AGENT
  else process.env.GODWIT_AGENT = environment
})

describe('help', () => {
  it('lists every command', async () => {
    const { status, output, errors } = await godwit('--help')
    expect({ status, errors }).toEqual({ status: 0, errors: '' })
    for (const name of Object.keys(COMMANDS)) expect(output).toContain(`  ${name} `)
  })

  it.each(Object.entries(COMMANDS))('of %s names every option', async (name, command) => {
    const { status, output, errors } = await godwit(name, '--help')
    expect({ status, errors }).toEqual({ status: 0, errors: '' })
    for (const option of Object.keys(command.options)) expect(output).toContain(`--${option}`)
    expect(Math.max(...output.split('\n').map((line) => line.length))).toBeLessThanOrEqual(120)
    expect((await godwit('help', name)).output).toBe(output)
  })

  it.each(Object.entries(COMMANDS))('of %s belongs to a module that runs', async (_, command) => {
    expect(typeof (await command.load()).run).toBe('function')
  })

  it('says the version', async () => {
    expect(await godwit('--version')).toEqual({ status: 0, output: `${version()}\n`, errors: '' })
  })

  it('without a command is a mistake', async () => {
    expect(await godwit()).toMatchObject({ status: 2, output: '' })
  })
})

describe('mistakes', () => {
  it.each([
    [['migrat'], 'did you mean godwit migrate?'],
    [['teleport'], 'see: godwit --help'],
    [['ps', '--jsno'], 'did you mean --json?'],
    [['ps', '-x'], 'see: godwit ps --help'],
    [['ps', 'extra'], 'see: godwit ps --help'],
    [['ps', '--json=yes'], 'see: godwit ps --help'],
    [['show'], 'see: godwit show --help'],
    [['migrate'], 'see: godwit migrate --help'],
    [['migrate', 'web1'], '--to HOST'],
    [['migrate', 'web1', 'web2'], '--to HOST'],
    [['migrate', 'web1', 'web2', 'web1', '--to', 'b'], 'name each guest once'],
    [['migrate', 'web1', '--to'], 'write --to'],
    [['migrate', 'web1', '--to', '--check'], 'write --to'],
    [['migrate', 'web1', '--to', 'https://b'], 'write HOST'],
    [['migrate', 'web1', '--to', 'b', '--channels', '0'], 'from 1 to 16'],
    [['migrate', 'web1', '--to', 'b', '--channels', 'two'], 'from 1 to 16'],
    [['migrate', 'web1', '--to', 'b', '--movement', 'jump'], 'choose one of stop-and-copy, pre-copy'],
    [['migrate', 'web1', '--to', 'b', '--bandwidth', 'fast'], '250MB/s'],
    [['migrate', 'web1', '--to', 'b', '--downtime-target', 'soon'], '50ms'],
    [['migrate', 'web1', '--to', 'b', '--no-verify', '--verify', 'full'], 'give one of them'],
    [['start', '--memory', 'lots'], '512MiB'],
    [['start', '--vcpus', '65'], 'from 1 to 64'],
    [['start', '--pace', 'quick'], 'free:20000/s'],
    [['start', '--option', 'alone'], 'key=value'],
    [['resolve', 'web1', '--peer-is-dead'], 'give --take, --abandon or --take-stale'],
    [['resolve', 'web1', '--take', '--take-stale'], 'give one of them'],
    [['recover', 'web1'], '32 hex digits'],
    [['recover'], 'see: godwit recover --help'],
    [['migrate', 'web1', '--to', 'b', '--push-order', 'best'], 'around-the-fault, linear'],
    [['demo', '--chaos', 'cut:3'], '--movement post-copy'],
    [['demo', '--chaos', 'cut:3', '--movement', 'stop-and-copy'], '--movement post-copy'],
    [['demo', '--chaos', 'burn:3', '--movement', 'hybrid'], 'write cut:N'],
    [['demo', '--chaos', 'cut:0', '--movement', 'hybrid'], 'write cut:N'],
    [['demo', '--chaos', 'delay:0ms'], 'delay:Nms'],
    [['demo', '--chaos', 'delay:1001ms'], 'delay:Nms'],
    [['demo', '--pace', 'free:0'], 'free:20000/s'],
    [['demo', '--hops', '0'], 'from 1'],
    [['agent', '--data-ports', '9-8'], 'FIRST-LAST'],
  ])('%j', async (words, hint) => {
    const { status, output, errors } = await godwit(...words)
    expect({ status, output }).toEqual({ status: 2, output: '' })
    const [message, second, ...rest] = errors.split('\n')
    expect(message).toMatch(/^godwit: .* \((usage|bad-size)\)$/)
    expect(second).toMatch(/^ {2}hint: /)
    expect(second).toContain(hint)
    expect(rest).toEqual([''])
  })

  it('an agent beyond loopback is refused before it touches anything', async () => {
    const { status, errors } = await godwit('agent', '--listen', '192.0.2.1:7400', '--data-dir', '/nowhere/at/all')
    expect(status).toBe(1)
    expect(errors).toContain('(insecure)\n  hint: add --insecure')
  })

  it('an agent that is not there is one line and a hint, whatever the command', async () => {
    process.env.GODWIT_AGENT = 'http://127.0.0.1:1'
    for (const words of [['ps'], ['show', 'a'], ['stop', 'a', '--json'], ['migrate', 'a', '--to', 'b', '--json']]) {
      const { status, output, errors } = await godwit(...words)
      expect({ status, output }).toEqual({ status: 1, output: '' })
      expect(errors).toMatch(/^godwit: no agent answers at http:\/\/127\.0\.0\.1:1 \(unreachable\)\n {2}hint: .*\n$/)
    }
  })
})

describe('values', () => {
  it('reads paces', () => {
    expect(parsePace('free:20000/s')).toEqual({ kind: 'free', perSecond: 20_000 })
    expect(parsePace('free:max')).toEqual({ kind: 'free', perSecond: null })
    expect(parsePace('locked')).toEqual({ kind: 'locked', lambda: null })
    expect(parsePace('locked:0.5')).toEqual({ kind: 'locked', lambda: 0.5 })
    for (const wrong of ['free', 'locked:max', 'locked:1/s', 'free:0', '']) expect(() => parsePace(wrong)).toThrow()
  })

  it('reads where to listen', () => {
    expect(parseListen('127.0.0.1:0')).toEqual({ host: '127.0.0.1', port: 0 })
    expect(parseListen('[::1]:0')).toEqual({ host: '::1', port: 0 })
    expect(parseListen('127.0.0.1')).toEqual({ host: '127.0.0.1', port: 7400 })
    expect(parsePorts('0-0', 'data-ports')).toEqual([0, 0])
    expect(parsePorts('7410-7499', 'data-ports')).toEqual([7410, 7499])
  })
})
