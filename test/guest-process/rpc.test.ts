// The socket between agent and guest process: lines cut anywhere, answers out of order, errors with their codes, events,
// and what a caller learns when the other side goes away.

import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { GodwitError } from '../../src/errors.ts'
import { socketPathFor } from '../../src/guest-process/guest-file.ts'
import { LineSplitter, RpcClient, type RpcServer, serveRpc } from '../../src/guest-process/rpc.ts'

describe('LineSplitter', () => {
  it('gives the same lines however the bytes are cut', () => {
    const line = fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\n', ' '))
    fc.assert(
      fc.property(fc.array(line, { maxLength: 8 }), fc.array(fc.nat(200)), (lines, cuts) => {
        const bytes = Buffer.from(lines.map((each) => `${each}\n`).join(''))
        const splitter = new LineSplitter()
        const found: string[] = []
        let at = 0
        for (const cut of [...cuts, bytes.length]) {
          found.push(...splitter.push(bytes.subarray(at, at + cut)))
          at += cut
        }
        expect(found).toEqual(lines)
      }),
    )
  })

  it('refuses a line above its cap, in one piece or many', () => {
    expect(() => new LineSplitter(4).push(Buffer.from('12345\n'))).toThrow(GodwitError)
    const splitter = new LineSplitter(4)
    splitter.push(Buffer.from('123'))
    expect(() => splitter.push(Buffer.from('45'))).toThrow(/over 4 bytes/)
    expect(new LineSplitter(4).push(Buffer.from('1234\n1234\n'))).toEqual(['1234', '1234'])
  })
})

describe('server and client', () => {
  let directory: string
  let path: string
  let server: RpcServer
  const gates = new Map<number, () => void>()

  beforeEach(async () => {
    directory = mkdtempSync(join(tmpdir(), 'godwit-rpc-'))
    path = join(directory, 'guest.sock')
    writeFileSync(path, 'stale')
    server = await serveRpc(path, {
      echo: (params) => params,
      nothing: () => {},
      gate: (params) => new Promise<number>((resolve) => gates.set(params as number, () => resolve(params as number))),
      fail: () => {
        throw new GodwitError('too-late', 'over', { hint: 'be quick' })
      },
    })
  })
  afterEach(async () => {
    await server.close()
    rmSync(directory, { recursive: true, force: true })
  })

  it('answers, out of order when it must', async () => {
    const client = await RpcClient.connect(path)
    expect(await client.call('echo', { a: ['ü', 1, null] })).toEqual({ a: ['ü', 1, null] })
    expect(await client.call('nothing')).toBeNull()
    const [one, two] = [client.call('gate', 1), client.call('gate', 2)]
    await client.call('echo', 0)
    gates.get(2)?.()
    expect(await two).toBe(2)
    gates.get(1)?.()
    expect(await one).toBe(1)
    client.close()
  })

  it('carries coded errors, and refuses methods that are only inherited', async () => {
    const client = await RpcClient.connect(path)
    await expect(client.call('fail')).rejects.toMatchObject({ code: 'too-late', message: 'over', hint: 'be quick' })
    for (const method of ['toString', '__proto__', 'no-such']) {
      await expect(client.call(method)).rejects.toMatchObject({ code: 'bad-message' })
    }
    client.close()
  })

  it('sends events to every client', async () => {
    const seen: unknown[] = []
    const clients = [
      await RpcClient.connect(path, (event) => seen.push(['a', event])),
      await RpcClient.connect(path, (event) => seen.push(['b', event])),
    ]
    // The server knows those whom it has answered; a connection may be known to its client first.
    await Promise.all(clients.map((client) => client.call('echo')))
    server.broadcast({ n: 1 })
    await Promise.all(clients.map((client) => client.call('echo')))
    expect(seen).toHaveLength(2)
    for (const client of clients) client.close()
  })

  it('rejects what is still waiting when the server goes, and every call after', async () => {
    const client = await RpcClient.connect(path)
    const waiting = client.call('gate', 9, null)
    waiting.catch(() => {})
    await client.call('echo')
    await server.close()
    await expect(waiting).rejects.toMatchObject({ code: 'link-lost' })
    await client.closed
    await expect(client.call('echo')).rejects.toMatchObject({ code: 'link-lost' })
    await expect(RpcClient.connect(path)).rejects.toMatchObject({ code: 'unreachable' })
  })

  it('cuts off whoever sends nonsense, and only them', async () => {
    const client = await RpcClient.connect(path)
    for (const nonsense of ['{]\n', '17\n', 'null\n']) {
      const stranger = connect(path)
      const closed = new Promise((resolve) => stranger.on('close', resolve))
      stranger.on('error', () => {})
      stranger.write(nonsense)
      await closed
    }
    expect(await client.call('echo', 'still here')).toBe('still here')
    client.close()
  })

  it('is a socket, where a stale file was', () => expect(statSync(path).isSocket()).toBe(true))
})

describe('socketPathFor', () => {
  it('keeps below what the system takes', () => {
    const long = `/${'long/'.repeat(40)}`
    expect(socketPathFor('/data/guests/a')).toBe('/data/guests/a/guest.sock')
    expect(Buffer.byteLength(socketPathFor(long))).toBeLessThanOrEqual(107)
    expect(socketPathFor(long)).not.toBe(socketPathFor(`${long}b`))
  })
})
