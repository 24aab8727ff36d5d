// The part of an agent a migration needs, in this process: takes reservations with a GuestHost of its own and answers
// verdicts. Lets tests drive whole migrations over real sockets and threads without processes.

import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GodwitError } from '../../src/errors.ts'
import { bootId } from '../../src/guest-process/boot-id.ts'
import { GuestHost } from '../../src/guest-process/host.ts'
import type { Reservation } from '../../src/guest-process/host-port.ts'
import type { Neighbour } from '../../src/migration/ports.ts'
import { Relay } from './relay.ts'

export class SmallAgent {
  readonly port: number
  readonly arrivals: GuestHost[] = []
  /** Where each of them keeps its record. */
  readonly directories: string[] = []
  /** Puts a relay between the hosts of the next migrations, when set. */
  relayed: ((relay: Relay) => void) | null = null
  relayDelayMs = 0
  readonly #relays: Relay[] = []
  /** Breaks every HTTP connection, as if the host were dead. */
  mute = false
  /** What a guest has left behind here: the next reservation that it fits begins with it. */
  copy: GuestHost | null = null
  /** Guests that those who come in may refer to. */
  neighbours: readonly Neighbour[] = []
  /** Refuses the next reservations with this, when set. */
  refusal: GodwitError | null = null
  readonly #server: Server
  readonly #directory: string
  readonly #programsDirectory: string | null

  private constructor(server: Server, directory: string, programsDirectory: string | null) {
    this.#server = server
    this.#directory = directory
    this.#programsDirectory = programsDirectory
    this.port = (server.address() as AddressInfo).port
    server.on('request', (request, response) => {
      if (this.mute) {
        request.socket.destroy()
        return
      }
      const answer = (status: number, body: unknown): void => {
        response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
      }
      const verdict = /^\/v1\/migrations\/([0-9a-f]{32})\/verdict\?epoch=(\d+)$/.exec(request.url ?? '')
      if (verdict !== null) {
        const [, migration = '', epoch] = verdict
        const known = this.arrivals
          .map((host) => host.verdict(migration, Number(epoch)))
          .find((each) => each !== 'unknown')
        answer(200, { verdict: known ?? 'unknown' })
        return
      }
      let text = ''
      request.on('data', (piece) => {
        text += piece
      })
      request.on('end', () => {
        this.#reserve(JSON.parse(text) as Reservation).then(
          (linePort) => answer(201, { agent: 'small', bootId: bootId(), linePort }),
          (error) => answer(409, { error: GodwitError.from(error).toJSON() }),
        )
      })
    })
  }

  static async listen(programsDirectory: string | null = null): Promise<SmallAgent> {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new SmallAgent(server, await mkdtemp(join(tmpdir(), 'godwit-test-')), programsDirectory)
  }

  async close(): Promise<void> {
    for (const host of this.arrivals) await host.close()
    for (const relay of this.#relays) await relay.close()
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
    await rm(this.#directory, { recursive: true, force: true })
  }

  async #reserve(reservation: Reservation): Promise<number | null> {
    if (this.refusal !== null) throw this.refusal
    if (this.relayed !== null) {
      const { controlPort, dataPorts } = reservation.source
      const relay = await Relay.open([controlPort, ...dataPorts], this.relayDelayMs)
      this.#relays.push(relay)
      const [control = 0, ...data] = relay.ports
      reservation.source.controlPort = control
      reservation.source.dataPorts = data
      this.relayed(relay)
    }
    const directory = await mkdtemp(join(this.#directory, 'guest-'))
    this.directories.push(directory)
    const lines = { host: '127.0.0.1', portRange: [0, 0] as const }
    const common = { directory, programsDirectory: this.#programsDirectory, agentName: 'small', lines }
    const options = { ...common, reservation, sourceAddress: '127.0.0.1', neighbours: this.neighbours }
    const { copy } = this
    this.copy = null
    const taken = await copy?.takeBack(options).catch(() => null)
    const host = taken ?? (await GuestHost.receive(options))
    this.arrivals.push(host)
    return host.status().service?.port ?? null
  }
}
