// `godwit load` from end to end against the bare server: what it prints, its exit status, Ctrl-C, marks on standard input;
// and what a migration's section `service` is made of.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { loadStatus, summarizeLoad } from '../../src/cli/load-summary.ts'
import { parseService, serviceText } from '../../src/cli/service-address.ts'
import { watchService } from '../../src/cli/service-watch.ts'
import { loadResultSchema } from '../../src/load/result.ts'
import { serviceReportSchema } from '../../src/migration/service-report.ts'
import { BareServer } from '../support/bare-server.ts'
import { godwit } from './buffer-terminal.ts'

const MAIN = resolve(import.meta.dirname, '../../src/cli/main.ts')
const QUICK = ['--keys', '100', '--connections', '2', '--rate', '500/s']

let server: BareServer
beforeEach(async () => {
  server = new BareServer()
  await server.listen()
})
afterEach(() => server.close())

const load = (...words: string[]) => godwit('load', String(server.port), ...QUICK, ...words)

/** As a process of its own. */
function start(...words: string[]) {
  const child = spawn(process.execPath, [MAIN, 'load', String(server.port), ...QUICK, ...words])
  let [output, errors] = ['', '']
  child.stdout.on('data', (chunk) => {
    output += chunk
  })
  child.stderr.on('data', (chunk) => {
    errors += chunk
  })
  const ended = once(child, 'close').then(([status]) => ({ status: status as number, output, errors }))
  return { child, ended }
}

/** Resolves when the warm-up of a load is over, as its requests say: 100 keys, then 250 a half second, which that takes. */
async function underWay(): Promise<void> {
  const before = server.commands
  while (server.commands < before + 500) await sleep(20)
}

describe('godwit load', () => {
  test('prints a summary, and 0 when nothing failed', async () => {
    const { status, output } = await load('--duration', '500ms')
    expect(status).toBe(0)
    expect(output).toMatch(/^[\d,]+ operations, none failed; no connection waited longer than /)
    expect(output).toMatch(/\n {2}window +time +ops\/s +failed +p50 +p99 +p99\.9 +longest +gap +silence\n/)
    expect(output).toMatch(/\n {2}run +/)
    expect(output).toMatch(/\n {2}Counters +exact: \d+ increments of 1,024 counters\n$/)
    expect(output).toContain(`127.0.0.1:${server.port}`)
  })

  test('--json is one document of the schema and nothing else', async () => {
    const words = ['--duration', '300ms', '--json', '--seed', '7', '--writes', '25%', '--value-size', '1KiB', '--keep']
    const { status, output, errors } = await load(...words)
    expect({ status, errors }).toEqual({ status: 0, errors: '' })
    const result = JSON.parse(output)
    expect(loadResultSchema.parse(result)).toEqual(result)
    expect(result.settings).toMatchObject({ seed: 7, writes: 0.25, valueBytes: 1024, rate: 500, connections: 2 })
    expect(result).toMatchObject({ version: 1, exact: true, failed: 0 })
    const values = [...server.values].filter(([key]) => key.startsWith(`${result.settings.prefix}:v:`))
    expect(values.map(([, value]) => String(value).length)).toEqual(Array(100).fill(1024))
  })

  test('connections are dealt out to several addresses', async () => {
    const other = new BareServer()
    await other.listen()
    try {
      const { output } = await load(`127.0.0.1:${other.port}`, '--duration', '300ms', '--keep')
      // Two stores are not one service, and it says so.
      expect(output).toContain('did NOT keep')
      expect(server.values.size).toBeGreaterThan(10)
      expect(other.values.size).toBeGreaterThan(10)
    } finally {
      await other.close()
    }
  })

  test('a service that fails: 1, and what failed', async () => {
    const { child, ended } = start('--duration', '1min')
    await underWay()
    server.disconnect()
    const { commands } = server
    while (server.sockets.size < 2 || server.commands < commands + 10) await sleep(20)
    child.kill('SIGINT')
    const { status, output } = await ended
    expect(status).toBe(1)
    expect(output).toContain('2 disconnects')
    // Before Node.js 24 a socket that is written to is told of a reset as of an end, once in a hundred times.
    const told = [...output.matchAll(/(\d+) × disconnected: (.*)/g)]
    const words =
      Number(process.versions.node.split('.')[0]) < 24 ? /^(ECONNRESET|closed by the server)$/ : /^ECONNRESET$/
    for (const [, , word] of told) expect(word).toMatch(words)
    expect(told.reduce((sum, [, times]) => sum + Number(times), 0)).toBe(2)
  })

  test('a service that does not keep what it acknowledged: 5, and where', async () => {
    const { child, ended } = start('--duration', '1min')
    await underWay()
    for (const [key, value] of server.values) if (key.includes(':c:')) server.values.set(key, Number(value) - 1)
    child.kill('SIGINT')
    const { status, output } = await ended
    expect(status).toBe(5)
    expect(output).toContain('did NOT keep')
    expect(output).toMatch(/NOT exact: \d+ increments of 1,024 counters; /)
    expect(output).toMatch(/counter \d+ is \d+, and must be \d+/)
  })

  test('counters that nobody could read accuse nobody, and a rate that was not reached is said to be none', async () => {
    const result = loadResultSchema.parse(JSON.parse((await load('--duration', '300ms', '--json')).output))
    expect(summarizeLoad(result)).not.toContain('NOT')
    const unread = { ...result, exact: false, counters: { ...result.counters, ok: false, unread: 1024 } }
    expect(loadStatus(unread)).toBe(5)
    expect(summarizeLoad(unread)).toMatch(/could not be found out\.\n(.*\n)*.*NOT exact: .*1024 could not be read/)
    expect(summarizeLoad(unread)).not.toContain('did NOT keep')
    const generator = { ...result.generator, heldBack: 9 }
    const behind = { ...result, generator, operationsPerSecond: 100, settings: { ...result.settings, rate: 5000 } }
    expect(summarizeLoad(behind)).toMatch(/Rate +NOT reached: 100 operations a second were answered of 5,000 due/)
  })

  test('a service that is not there: one line and a hint', async () => {
    await server.close()
    const { status, output, errors } = await godwit('load', '1', '--json')
    expect({ status, output }).toEqual({ status: 1, output: '' })
    expect(errors).toMatch(/^godwit: nothing serves at 127\.0\.0\.1:1: ECONNREFUSED \(unreachable\)\n {2}hint: .*\n$/)
  })
})

describe('the process', () => {
  test('Ctrl-C ends it with its summary', async () => {
    const { child, ended } = start('--duration', '1min')
    await underWay()
    child.kill('SIGINT')
    const { status, output } = await ended
    expect(status).toBe(0)
    expect(output).toContain('none failed')
    expect(output).toContain('Counters')
  })

  test('Ctrl-C twice ends it without', async () => {
    const { child, ended } = start('--duration', '1min')
    await underWay()
    // It would wait for replies.
    server.pause()
    child.kill('SIGINT')
    // Two of one signal that come before the process looks are one; another one asks as well.
    child.kill('SIGTERM')
    const { status, output, errors } = await ended
    expect({ status, output }).toEqual({ status: 1, output: '' })
    expect(errors).toContain('(cancelled)')
  })

  test('lines on standard input are marks', async () => {
    // A line before the warm-up is over waits for its end; the rest is time for a busy machine.
    const { child, ended } = start('--duration', '4s', '--marks', '--json')
    child.stdin.write('during\n')
    await underWay()
    child.stdin.write('\n')
    // Standard input stays open: the end of the load is the end.
    const { status, output } = await ended
    expect(status).toBe(0)
    const { windows } = JSON.parse(output) as { windows: { name: string }[] }
    expect(windows.map(({ name }) => name)).toEqual(['warm-up', 'run', 'during', 'mark'])
  })
})

describe('a migration watched', () => {
  const options = (more = {}) => ({
    load: { targets: [{ host: '127.0.0.1', port: server.port }], rate: 1000, keys: 100, connections: 4, ...more },
    beforeMs: 600,
    afterMs: 200,
    signal: new AbortController().signal,
  })

  test('becomes the section of its report', async () => {
    const { value, service, load } = await watchService(options(), async () => {
      await sleep(100)
      server.pause()
      await sleep(400)
      server.resume()
      await sleep(200)
      return 'moved'
    })
    expect(value).toBe('moved')
    expect(serviceReportSchema.parse(service)).toEqual(service)
    expect(service).toMatchObject({ failed: 0, disconnects: 0, exact: true, errors: {} })
    expect(service.longestGapMs).toBeGreaterThan(370)
    expect(service.excessGapMs).toBeCloseTo(Math.max(0, service.longestGapMs - service.calmGapMs), 6)
    expect(service.duringMs.p99).toBeGreaterThan(300)
    // The window behind is as long as the migration, so that there is an equal one without.
    expect(service.calmMs).toBeGreaterThan(service.duringWindowMs - 100)
    expect(load.windows.map(({ name }) => name)).toEqual(['warm-up', 'before', 'during', 'after'])
    expect(server.values.size).toBe(0)
  })

  test('that fails takes the load with it', async () => {
    const failing = watchService(options(), () => Promise.reject(new Error('no')))
    await expect(failing).rejects.toThrow('no')
    while (server.sockets.size > 0) await sleep(20)
  })

  test('is interrupted', async () => {
    const interrupted = new AbortController()
    const watched = watchService({ ...options(), signal: interrupted.signal }, () => new Promise(() => {}))
    await Promise.all([expect(watched).rejects.toThrow('aborted'), sleep(300).then(() => interrupted.abort())])
    while (server.sockets.size > 0) await sleep(20)
  })

  test('without a service says so', async () => {
    const watched = watchService(options({ targets: [{ host: '127.0.0.1', port: 1 }] }), () => Promise.resolve())
    await expect(watched).rejects.toMatchObject({ code: 'unreachable' })
  })
})

test('addresses of services', () => {
  expect(parseService('6380')).toEqual({ host: '127.0.0.1', port: 6380 })
  expect(parseService(':6380')).toEqual({ host: '127.0.0.1', port: 6380 })
  expect(parseService('store.example:6380')).toEqual({ host: 'store.example', port: 6380 })
  expect(parseService('[::1]:6380')).toEqual({ host: '::1', port: 6380 })
  expect(
    ['a', '1.2.3.4', 'a:b', '::1:6380', 'http://a:1', 'a:', ''].filter((text) => {
      try {
        return parseService(text)
      } catch {
        return false
      }
    }),
  ).toEqual([])
  expect(serviceText({ host: '::1', port: 1 })).toBe('[::1]:1')
})
