// Which guests one that comes in may refer to, as its agent decides it and tells its process. The guests are fake.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AgentClient } from '../../src/agent/client.ts'
import type { GuestEntry } from '../../src/agent/guest-table.ts'
import { neighboursOf } from '../../src/agent/neighbours.ts'
import type { GuestView } from '../../src/agent/schemas.ts'
import type { GuestFile } from '../../src/guest-process/guest-file.ts'
import type { Reservation } from '../../src/guest-process/host-port.ts'
import { MAX_NEIGHBOURS } from '../../src/limits.ts'
import { settingsSchema } from '../../src/migration/settings.ts'
import { CAPABILITIES } from '../../src/wire/protocol.ts'
import { guestConfig, MIB } from '../support/config.ts'
import { Agents, elsewhere, start, until } from './agents.ts'

const GANG = 'ab'.repeat(16)
const OTHER = 'cd'.repeat(16)

describe('neighbours', () => {
  const reservation = (gang: string | null, id = 'me'): Reservation =>
    ({ guest: guestConfig({ id }), settings: settingsSchema.parse({ gang }) }) as Reservation
  const entry = (
    id: string,
    gang: string | null,
    over: { alive?: boolean; path?: string | null; pages?: number } = {},
  ) => {
    const { alive = true, path = `/${id}`, pages = 256 } = over
    const file = { pageSocketPath: path, reservation: gang === null ? null : reservation(gang, id) }
    return { config: guestConfig({ id, memoryBytes: pages * 4096 }), process: { alive, file } } as unknown as GuestEntry
  }
  const paths = (entries: GuestEntry[], gang: string | null, sharePages: boolean): string[] =>
    neighboursOf(entries, reservation(gang), sharePages).map(({ path }) => path)
  const all = [entry('a', GANG), entry('b', null), entry('c', OTHER), entry('d', GANG), entry('e', null)]

  it('are those of its gang, or, where pages are shared, all, those of the gang first', () => {
    expect(paths(all, GANG, false)).toEqual(['/d', '/a'])
    expect(paths(all, null, false)).toEqual([])
    expect(paths(all, 'ef'.repeat(16), false)).toEqual([])
    expect(paths(all, GANG, true)).toEqual(['/d', '/a', '/e', '/c', '/b'])
    expect(paths(all, null, true)).toEqual(['/e', '/d', '/c', '/b', '/a'])
  })

  it('live, show their pages, and are others', () => {
    const some = [
      entry('a', GANG, { alive: false }),
      entry('b', GANG, { path: null }),
      entry('me', GANG),
      entry('d', GANG),
    ]
    expect(paths(some, GANG, true)).toEqual(['/d'])
  })

  it('are limited in number and size', () => {
    const many = Array.from({ length: 20 }, (_, index) => entry(`g${index}`, null))
    expect(paths(many, null, true)).toHaveLength(MAX_NEIGHBOURS)
    const large = Array.from({ length: 5 }, (_, index) => entry(`g${index}`, null, { pages: 2 ** 20 }))
    const some = [entry('small', null), ...large]
    const sizes = (memoryBytes: number): number[] => {
      const guest = guestConfig({ id: 'me', memoryBytes })
      return neighboursOf(some, { ...reservation(null), guest }, true).map(({ pages }) => pages)
    }
    expect(sizes(4096 * MIB)).toEqual(Array(4).fill(2 ** 20))
    // Their hashes must not outweigh a guest that is small beside them.
    expect(sizes(256 * MIB)).toEqual([2 ** 20])
    expect(sizes(255 * MIB)).toEqual([256])
  })
})

describe('an agent', () => {
  const agents = new Agents()
  let root: string
  beforeEach(() => {
    root = agents.begin()
  })
  afterEach(() => agents.end())

  const fileOf = (id: string): GuestFile =>
    JSON.parse(readFileSync(join(root, 'one', 'guests', id, 'guest.json'), 'utf8')) as GuestFile
  let reservations = 0
  const comeIn = async (
    client: AgentClient,
    id: string,
    settings: object,
    guest = guestConfig({ id: id.repeat(32), name: id, memoryBytes: MIB }),
  ): Promise<GuestFile> => {
    await client.call('POST', '/v1/reservations', {
      migration: (++reservations).toString(16).padStart(32, 'd'),
      token: 'e'.repeat(32),
      generation: 0,
      epoch: 3,
      guest,
      source: { agent: 'far', agentPort: 7400, host: null, controlPort: 1, dataPorts: [1] },
      settings,
      protocol: 1,
      capabilities: [...CAPABILITIES],
    })
    return fileOf(guest.id)
  }
  const sockets = ({ neighbours = [] }: GuestFile): string[] => neighbours.map(({ path }) => path)

  it('lets the members of a gang see each other, and nobody else', async () => {
    const { client } = await agents.start()
    const resident = await start(client, 'resident')
    expect(fileOf(resident.id).pageSocketPath).toBeNull()
    const [a, b] = [await comeIn(client, 'a', { gang: GANG }), await comeIn(client, 'b', { gang: GANG })]
    const [c, d] = [await comeIn(client, 'c', { gang: OTHER }), await comeIn(client, 'd', {})]
    expect([a, b, c, d].map((file) => file.pageSocketPath?.endsWith('pages.sock'))).toEqual([
      true,
      true,
      true,
      undefined,
    ])
    expect([a, b, c, d].map(sockets)).toEqual([[], [a.pageSocketPath], [], []])
  })

  it('that shares pages lets all see all', async () => {
    const { client } = await agents.start({ sharePages: true })
    const resident = fileOf((await start(client, 'resident')).id)
    const a = await comeIn(client, 'a', {})
    expect(sockets(a)).toEqual([resident.pageSocketPath])
    expect(sockets(await comeIn(client, 'b', { gang: GANG }))).toEqual([a.pageSocketPath, resident.pageSocketPath])
  })

  it('tells a copy that is taken back, too', async () => {
    const { client } = await agents.start()
    const left = await start(client, 'left')
    await client.call('POST', '/v1/guests/left/migrate', { to: elsewhere, settings: { keepCopy: true } })
    await until(async () => (await client.call<GuestView[]>('GET', '/v1/guests')).length === 0)
    const a = await comeIn(client, 'a', { gang: GANG })
    const back = await comeIn(client, 'left', { gang: GANG }, left.config)
    expect(back).toMatchObject({ role: 'incoming', pid: left.pid })
    expect(sockets(back)).toEqual([a.pageSocketPath])
    expect(sockets(await comeIn(client, 'b', { gang: GANG }))).toEqual([back.pageSocketPath, a.pageSocketPath])
  })

  it('refuses a gang that is none', async () => {
    const { client } = await agents.start()
    await expect(comeIn(client, 'a', { gang: 'us' })).rejects.toMatchObject({ code: 'usage' })
  })
})
