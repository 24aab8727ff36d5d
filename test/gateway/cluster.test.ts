// A port in cluster mode: who is served, and who is sent where, by what a view says that the test makes.

import { afterEach, beforeEach, expect, test } from 'vitest'
import type { ClusterView, Whereabouts } from '../../src/gateway/cluster-view.ts'
import { Front } from '../../src/gateway/front.ts'
import { KvBackend } from '../support/kv-backend.ts'
import { RespClient } from '../support/resp-client.ts'

const nodeOf = (port: number) => ({ id: port.toString(16).padStart(40, '0'), host: '127.0.0.1', port })

let fronts: Front[] = []
let clients: RespClient[] = []
/** Two vCPUs; by front, where its agent believes that each is. */
let whereabouts: Whereabouts['how'][][]

beforeEach(async () => {
  whereabouts = [
    ['here', 'here'],
    ['here', 'here'],
  ]
  const backend = new KvBackend(2)
  fronts = []
  for (const index of [0, 1]) {
    const selfOf = (which: number) => nodeOf(fronts[which]?.port ?? 0)
    const whereIs = (vcpu: number): Whereabouts => {
      const how = whereabouts[index]?.[vcpu] as Whereabouts['how']
      return { how, node: selfOf(how === 'here' ? index : 1 - index) }
    }
    const ownerOf = (vcpu: number) => (whereIs(vcpu).how === 'moved' ? whereIs(vcpu).node : selfOf(index))
    const view: ClusterView = {
      get self() {
        return selfOf(index)
      },
      whereIs,
      ownerOf,
    }
    const front = new Front({ backend, cluster: view })
    fronts.push(front)
    await front.listen('127.0.0.1', [0, 0])
  }
  clients = await Promise.all(fronts.map(({ port }) => RespClient.connect(port)))
})

afterEach(async () => {
  for (const client of clients) client.close()
  for (const front of fronts) await front.close()
})

const first = (...words: string[]) => (clients[0] as RespClient).command(...words)
const second = (...words: string[]) => (clients[1] as RespClient).command(...words)

test('while a vCPU is at the other agent and its migration under way: ASK, and one command behind ASKING', async () => {
  // foo is of slot 12182, the second vCPU's; bar of 5061, the first one's.
  whereabouts[0] = ['here', 'ask']
  expect(await first('SET', 'bar', '1')).toBe('+OK')
  expect(await first('SET', 'foo', '2')).toBe(`-ASK 12182 127.0.0.1:${fronts[1]?.port}`)
  // The slots stay this one's until the migration is over.
  expect(JSON.stringify(await first('CLUSTER', 'SLOTS'))).not.toContain(`:${fronts[1]?.port}`)
  expect(await second('ASKING')).toBe('+OK')
  expect(await second('SET', 'foo', '2')).toBe('+OK')
  expect(await first('ASKING')).toBe('+OK')
  expect(await first('GET', 'foo')).toBe('2')
  expect(await first('GET', 'foo')).toMatch(/^-ASK /)
})

test.each([
  ['one the port answers itself', ['PING']],
  ['one for all shards', ['DBSIZE']],
  ['one of several slots', ['MGET', 'foo', 'bar']],
  ['one with too few arguments', ['GET']],
  ['one that is none', ['NOPE']],
])('ASKING is over behind the next command: %s', async (_what, words) => {
  whereabouts[0] = ['here', 'ask']
  await first('ASKING')
  await first(...words)
  expect(await first('GET', 'foo')).toMatch(/^-ASK 12182 /)
})

test('when it is there for good: MOVED, and the slots are the other one’s', async () => {
  whereabouts[0] = ['here', 'moved']
  expect(await first('GET', 'foo')).toBe(`-MOVED 12182 127.0.0.1:${fronts[1]?.port}`)
  const slots = (await first('CLUSTER', 'SLOTS')) as [string, string, [string, string]][]
  expect(slots.map(([from, to, [, port]]) => [from, to, port])).toEqual([
    [':0', ':8191', `:${fronts[0]?.port}`],
    [':8192', ':16383', `:${fronts[1]?.port}`],
  ])
})

test('what stands between braces is what a key’s slot comes from', async () => {
  const slot = await first('CLUSTER', 'KEYSLOT', 'user1000')
  for (const key of ['{user1000}.following', 'foo{user1000}{zap}', 'x{user1000}}']) {
    expect(await first('CLUSTER', 'KEYSLOT', key)).toBe(slot)
  }
  expect(await first('CLUSTER', 'KEYSLOT', 'foo{}{user1000}')).not.toBe(slot)
  expect(await first('CLUSTER', 'KEYSLOT', 'foo{user1000')).not.toBe(slot)
  expect(await first('MSET', '{user1000}.a', '1', '{user1000}.b', '2')).toBe('+OK')
  expect(await first('MGET', '{user1000}.b', '{user1000}.a')).toEqual(['2', '1'])
  expect(await first('MSET', '{a}.a', '1', '{b}.b', '2')).toMatch(/^-CROSSSLOT /)
})

test('of CLUSTER, what is not carried says so, and what is takes no more words', async () => {
  for (const word of ['COUNTKEYSINSLOT', 'GETKEYSINSLOT', 'SETSLOT', 'MEET', 'FAILOVER']) {
    expect(await first('CLUSTER', word, '1', '2')).toMatch(`-ERR 'cluster|${word.toLowerCase()}' is not carried`)
  }
  expect(await first('CLUSTER', 'INFO', 'x')).toBe("-ERR wrong number of arguments for 'cluster|info' command")
  expect(await first('CLUSTER', 'KEYSLOT')).toBe("-ERR wrong number of arguments for 'cluster|keyslot' command")
  expect(await first('CLUSTER', 'MYID')).toBe(nodeOf(fronts[0]?.port ?? 0).id)
  expect(await first('READONLY')).toBe('+OK')
})
