// Hosts by their names: which are one, and which only look alike.

import { expect, test } from 'vitest'
import { hostKey, placeKey } from '../../src/wire/host-key.ts'

test('names of one host are equal, and others are not', () => {
  for (const host of ['localhost', 'LocalHost', '127.0.0.1', '::ffff:127.0.0.1'])
    expect(hostKey(host)).toBe('127.0.0.1')
  expect(hostKey('::FFFF:10.0.0.2')).toBe('10.0.0.2')
  // Two agents of one host may each listen at an address of their own.
  const others = ['127.0.0.1', '127.0.0.2', '::1', 'a.example', '10.0.0.2', '::ffff:1']
  expect(new Set(others.map(hostKey)).size).toBe(others.length)
  expect(placeKey({ host: 'localhost', port: 1 })).not.toBe(placeKey({ host: 'localhost', port: 2 }))
})
