// Each command that needs memory, with every number of pages left from none to enough: it fails as a whole, and takes
// nothing, or it succeeds as a whole.

import { expect, test } from 'vitest'
import { Arena } from '../../../src/programs/kv/arena.ts'
import { newStore, type Store, settle } from './store.ts'

const OOM = "-OOM command not allowed when used memory > 'maxmemory'.\r\n"
const long = (length: number): string => 'x'.repeat(length)

/** Keys of each kind, and slots of every size so full that the next one takes a page. */
function crowded(): Store {
  const store = newStore(128)
  store.run(['SET', 'short', '1'])
  store.run(['SET', 'page', long(4000)])
  store.run(['SET', 'pages', long(9000)])
  store.run(['HSET', 'hash', 'f', 'v'])
  for (let key = 0; key < 255; key++) store.run(['SET', `ending:${key}`, 'x', 'EX', '100'])
  store.run(['SET', 'ending:255', 'x', 'EX', '100'])
  const arena = new Arena(store.accessors, store.range)
  for (const bytes of [16, 32, 48, 64, 80, 320, 1024, 2048]) {
    const used = arena.usedPages
    let slot = arena.take(bytes) as number
    while (arena.usedPages === used) slot = arena.take(bytes) as number
    // It alone has taken a page.
    arena.give(slot)
  }
  return store
}

/** Leaves so many pages. */
function leave(store: Store, pages: number): void {
  const arena = new Arena(store.accessors, store.range)
  const taken: number[] = []
  for (let page = arena.takePage(); page !== null; page = arena.takePage()) taken.push(page)
  for (const page of taken.splice(0, pages)) arena.givePage(page)
}

const KEYS = ['short', 'page', 'pages', 'new', 'new2', 'new3']
const contents = (store: Store): string[] => [
  ...KEYS.flatMap((key) => [store.run(['GET', key]), store.run(['TTL', key])]),
  store.run(['HGETALL', 'hash']),
  store.run(['HGETALL', 'new']),
  store.run(['DBSIZE']),
]

const commands: readonly (readonly string[])[] = [
  ['SET', 'new', long(300)],
  ['SET', 'new', long(20_000)],
  ['SET', 'short', long(2000)],
  ['SET', 'hash', long(9000)],
  ['SET', 'new', '1', 'EX', '10'],
  ['SET', 'page', long(9000), 'EX', '10'],
  ['SETNX', 'new', long(5000)],
  ['GETSET', 'page', long(300)],
  ['MSET', 'short', long(9000), 'new', long(300), 'new2', long(50), 'new3', long(5000)],
  ['APPEND', 'short', long(1000)],
  ['APPEND', 'page', long(9000)],
  ['APPEND', 'pages', long(9000)],
  ['APPEND', 'new', long(3000)],
  ['INCR', 'new'],
  ['EXPIRE', 'short', '10'],
  ['HSET', 'new', 'f', long(300), 'g', long(9000)],
  ['HSET', 'hash', 'f', long(300), 'g', long(9000)],
  ['HSET', 'hash', 'f', long(9000)],
]
const title = (parts: readonly string[]): string =>
  parts.map((part) => (part.length > 20 ? `(${part.length} bytes)` : part)).join(' ')

test.each(commands.map((parts) => [title(parts), parts] as const))('%s', (_title, parts) => {
  const outcomes = new Set<string>()
  const enough = crowded()
  const reply = enough.run(parts)
  const after = contents(enough)
  for (let pages = 0; pages < 12; pages++) {
    const store = crowded()
    const before = contents(store)
    leave(store, pages)
    const used = store.shard.usedBytes
    const said = store.run(parts)
    settle(store)
    expect([OOM, reply]).toContain(said)
    outcomes.add(said)
    if (said === OOM) expect(store.shard.usedBytes).toBe(used)
    expect(contents(store)).toEqual(said === OOM ? before : after)
  }
  expect([...outcomes].sort()).toEqual([OOM, reply].sort())
})

test('hashes that lose most of their fields give the room of their buckets back', () => {
  const store = newStore(1024)
  const fields = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, n) => `f${from + n}`)
  for (let hash = 0; hash < 40; hash++) {
    store.run(['HSET', `h${hash}`, ...fields(0, 600).flatMap((field) => [field, ''])])
    store.run(['HDEL', `h${hash}`, ...fields(5, 600)])
  }
  // A page of buckets each they had; now several share one.
  expect(store.shard.usedBytes).toBeLessThan(20 * 4096)
})
