// What a living guest process tells the other host about a migration: nothing that would be true only if it were dead (R20).

import { expect, test } from 'vitest'
import { type Current, crashOf, verdictOf } from '../../src/guest-process/current-move.ts'
import type { OwnershipRecord, OwnershipStore } from '../../src/migration/ownership-record.ts'

const ID = 'b'.repeat(32)
const EPOCH = 2

/** `epoch`: of whoever asks. */
function told(over: Partial<OwnershipRecord>, state: string, epoch: number) {
  const role = over.role ?? 'source'
  const record = { version: 1, guest: 'a'.repeat(32), epoch: EPOCH, migration: ID, peer: 'beta', role, ...over }
  const store = { read: () => record } as unknown as OwnershipStore
  // No more is used of it.
  const current = { id: ID, epoch: EPOCH, role, session: { state } } as unknown as Current
  return verdictOf(current, store, ID, epoch)
}

test.each<[Partial<OwnershipRecord>, string]>([
  [{ state: 'owner' }, 'running'],
  [{ state: 'owner' }, 'paused'],
  [{ state: 'released', pull: true }, 'serving'],
  [{ state: 'shared', pull: true }, 'shared'],
  [{ state: 'shared', role: 'destination' }, 'shared'],
  [{ state: 'owner', role: 'destination', pull: true }, 'pulling'],
  [{ state: 'incoming', role: 'destination' }, 'incoming'],
])('asked with another epoch, by record %j: unknown', (record, state) => {
  expect(told(record, state, 0)).toBe('unknown')
})

test('what is final is told whoever asks', () => {
  expect(told({ state: 'aborted' }, 'aborted', 0)).toBe('not-released')
  expect(told({ state: 'done' }, 'done', 0)).toBe('released')
  expect(told({ state: 'owner', role: 'destination' }, 'settled', 0)).toBe('owner')
  expect(told({ state: 'lost' }, 'lost', 0)).toBe('lost')
  expect(told({ state: 'owner' }, 'running', EPOCH)).toBe('unknown')
})

test.each(['source', 'destination'] as const)(
  'at the %s, a guest lost while both served is no word against the other host',
  (role) => {
    const { crash } = crashOf('lost', { role, soft: true } as unknown as Current, 'store', null)
    expect(crash).toMatchObject({ code: 'lost', hint: expect.stringContaining('resolve store --abandon') })
    // It may be there, and well: what exchanges pages fails by itself, and a program throws.
    expect(crash?.message).not.toContain('host is gone')
  },
)
