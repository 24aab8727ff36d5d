// What an agent knows of guests that serve and come and go, without their processes.

import { expect, onTestFinished, test } from 'vitest'
import type { GuestEntry } from '../../src/agent/guest-table.ts'
import { Services } from '../../src/agent/services.ts'

const ID = 'a'.repeat(32)
const config = { id: ID, name: 'store', program: 'kv', vcpus: 1, memoryBytes: 65_536, options: {} }
const [RIGHT, THIRD] = [
  { host: '10.0.0.2', port: 7400 },
  { host: '10.0.0.3', port: 7400 },
]

/** The guest here: begun here, or offered by an agent. */
function entryOf(from: typeof RIGHT | null): GuestEntry {
  const reservation = from === null ? null : { source: { agentPort: from.port } }
  const file = { role: from === null ? 'begun' : 'incoming', reservation, sourceAddress: from?.host ?? null }
  return { config, process: { alive: true, file }, status: null } as unknown as GuestEntry
}

function begin() {
  let here: GuestEntry | undefined
  const services = new Services({
    agentName: 'left',
    host: () => '127.0.0.1',
    portRange: [0, 0],
    entryOf: () => here,
    departing: () => null,
  })
  onTestFinished(() => services.close())
  const set = async (entry: GuestEntry | undefined): Promise<void> => {
    here = entry
    if (entry !== undefined) await services.open(entry)
  }
  return { set, services, agents: () => services.view('store', here).agents }
}

test('a guest that was to come back and did not is where it was', async () => {
  const { set, services, agents } = begin()
  await set(entryOf(null))
  expect(agents()).toEqual([])
  services.noteDeparture(ID, RIGHT)
  await set(undefined)
  expect(agents()).toEqual(['10.0.0.2:7400'])
  await set(entryOf(RIGHT))
  expect(agents()).toEqual(['10.0.0.2:7400'])
  await set(undefined)
  expect(agents()).toEqual(['10.0.0.2:7400'])
  // It has gone on meanwhile, and whoever has it now offers it.
  await set(entryOf(THIRD))
  await set(undefined)
  expect(agents()).toEqual(['10.0.0.3:7400'])
})
