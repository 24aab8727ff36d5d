// The whole store against a Map: the same replies to thousands of commands, nothing lost when memory ends, nothing left
// when the keys are gone, and the same bytes whether it moved or not.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { seeded } from '../../kernels/memory-fixture.ts'
import { Model, pairsOf } from './model.ts'
import { type Step, steps } from './random-commands.ts'
import { NOW, newStore, openStore, pagesInUse, type Store, settle } from './store.ts'

const OOM = "-OOM command not allowed when used memory > 'maxmemory'.\r\n"

function same(parts: readonly string[], reply: string, expected: string): void {
  if (reply !== expected) expect([parts, reply]).toEqual([parts, expected])
}

/** Every key and field of the model, in the store, and no more of them. */
function compare(store: Store, model: Model, nowMs: number): void {
  settle(store)
  for (const [key, { value }] of model.keys) {
    if (typeof value === 'string') expect(store.run(['GET', key], nowMs)).toBe(`$${value.length}\r\n${value}\r\n`)
    else expect(pairsOf(store.run(['HGETALL', key], nowMs))).toEqual(value)
  }
  expect(store.run(['DBSIZE'], nowMs)).toBe(`:${model.keys.size}\r\n`)
}

/** Removes every key and looks whether anything is left. */
function empty(store: Store, model: Model, nowMs: number): void {
  for (const key of model.keys.keys()) store.run(['DEL', key], nowMs)
  settle(store)
  expect([store.shard.count, store.shard.usedBytes, pagesInUse(store)]).toEqual([0, 0, 0])
}

/** Runs the steps on both and compares each reply; `moved` gives the store to go on with. */
function play(store: Store, model: Model, all: readonly Step[], moved: (store: Store) => Store): [Store, number] {
  let nowMs = NOW
  let current = store
  for (const { parts, after } of all) {
    nowMs += after
    current = moved(current)
    const reply = current.run(parts, nowMs)
    same(parts, reply, model.run(parts, nowMs))
  }
  model.run(['EXISTS'], nowMs)
  return [current, nowMs]
}

const stay = (store: Store): Store => store

test('answers like a Map', () => {
  fc.assert(
    fc.property(steps(400, 600), (all) => {
      const model = new Model()
      const [store, nowMs] = play(newStore(4096), model, all, stay)
      compare(store, model, nowMs)
      empty(store, model, nowMs)
    }),
    seeded(24),
  )
})

test('without memory a command fails as a whole, and everything else stays readable', () => {
  let failures = 0
  fc.assert(
    fc.property(steps(300, 400), fc.constantFrom(16, 32, 48), (all, pages) => {
      const model = new Model()
      let nowMs = NOW
      const store = newStore(pages)
      for (const { parts, after } of all) {
        nowMs += after
        const reply = store.run(parts, nowMs)
        if (reply === OOM) failures++
        else same(parts, reply, model.run(parts, nowMs))
      }
      model.run(['EXISTS'], nowMs)
      compare(store, model, nowMs)
      empty(store, model, nowMs)
    }),
    seeded(20),
  )
  expect(failures).toBeGreaterThan(100)
})

/** The guest at another host: the same bytes, the same free map, and rubbish in pages that are free (R17). */
function copyOf({ memory }: Store): GuestMemory {
  const copy = GuestMemory.create(memory.layout.memoryBytes, memory.layout.vcpus)
  copy.bytes.set(memory.bytes)
  copy.free.set(memory.free)
  for (const [page, free] of copy.free.entries()) if (free !== 0) copy.bytes.fill(0xa5, page * 4096, (page + 1) * 4096)
  return copy
}

test('a store that moves goes on exactly, and ends with the bytes of one that stayed', () => {
  fc.assert(
    fc.property(steps(100, 200), (all) => {
      let step = 0
      const move = (store: Store): Store => (step++ % 10 === 9 ? openStore(copyOf(store)) : store)
      const model = new Model()
      const [moved, nowMs] = play(newStore(512), model, all, move)
      const [stayed] = play(newStore(512), new Model(), all, stay)
      expect(Buffer.compare(moved.memory.free, stayed.memory.free)).toBe(0)
      for (const [page, free] of stayed.memory.free.entries()) {
        const bytes = ({ memory }: Store): Uint8Array => memory.bytes.subarray(page * 4096, (page + 1) * 4096)
        if (free === 0) expect(Buffer.compare(bytes(moved), bytes(stayed)), `page ${page}`).toBe(0)
      }
      compare(moved, model, nowMs)
    }),
    seeded(12),
  )
})

describe('many keys', () => {
  const MANY = 20_000

  test('the table grows and shrinks with them, and every page returns', () => {
    const store = newStore(1024)
    for (let key = 0; key < MANY; key++) store.run(['SET', `key:${key}`, `value:${key}`, 'PX', String(1000 + key)])
    for (let key = 0; key < MANY; key += 7) {
      expect(store.run(['GET', `key:${key}`])).toBe(`$${6 + String(key).length}\r\nvalue:${key}\r\n`)
    }
    for (let key = 0; key < MANY; key += 2) expect(store.run(['DEL', `key:${key}`])).toBe(':1\r\n')
    for (let key = 1; key < MANY; key += 2) expect(store.run(['EXISTS', `key:${key}`])).toBe(':1\r\n')
    store.run(['PING'], NOW + 2 * MANY)
    settle(store)
    expect([store.run(['DBSIZE']), store.shard.usedBytes, pagesInUse(store)]).toEqual([':0\r\n', 0, 0])
  })

  test('as fields of one hash, which is removed at once and given back little by little', () => {
    const store = newStore(1024)
    for (let field = 0; field < MANY; field++) store.run(['HSET', 'h', `field:${field}`, `${field}`])
    expect(pairsOf(store.run(['HGETALL', 'h'])).size).toBe(MANY)
    const used = store.shard.usedBytes
    expect(store.run(['DEL', 'h'])).toBe(':1\r\n')
    expect(store.run(['EXISTS', 'h'])).toBe(':0\r\n')
    expect(store.shard.usedBytes).toBeGreaterThan(0.9 * used)
    for (let times = 0; times < MANY / 64; times++) store.run(['PING'])
    expect([store.shard.usedBytes, pagesInUse(store)]).toEqual([0, 0])
  })

  test('memory of removed hashes is there for whoever needs it', () => {
    const store = newStore(64)
    const fill = (key: string): number => {
      for (let field = 0; ; field++)
        if (store.run(['HSET', key, `field:${field}`, 'x'.repeat(100)]) === OOM) return field
    }
    const fields = fill('a')
    expect(store.run(['DEL', 'a'])).toBe(':1\r\n')
    expect(fill('b')).toBeGreaterThan(0.9 * fields)
  })

  test('FLUSHALL declares every page free, and the store is good for as much again', () => {
    const store = newStore(512)
    for (let times = 0; times < 3; times++) {
      let keys = 0
      while (store.run(['SET', `key:${keys}`, 'x'.repeat(keys % 3000), 'EX', '100']) !== OOM) keys++
      expect(keys).toBeGreaterThan(500)
      expect(store.run(['DBSIZE'])).toBe(`:${keys}\r\n`)
      expect(store.run(['FLUSHALL'])).toBe('+OK\r\n')
      expect([store.run(['DBSIZE']), store.run(['GET', 'key:1']), pagesInUse(store)]).toEqual([':0\r\n', '$-1\r\n', 0])
    }
  })
})

test('a reply that does not fit is an error, and GETSET leaves the value', () => {
  const store = newStore(20_480)
  for (const key of ['a', 'b', 'c', 'd', 'e']) store.run(['SET', key, new Uint8Array(15_000_000)])
  expect(store.run(['MGET', 'a', 'b', 'c', 'd', 'e'])).toBe('-ERR the reply is too long\r\n')
  expect(store.run(['STRLEN', 'e'])).toBe(':15000000\r\n')
})
