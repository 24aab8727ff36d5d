// The real world of a destination session: dials the source's control and data ports with the reservation's token.

import { connect, type Socket } from 'node:net'
import { seedOf } from '../encoding/seed.ts'
import { GodwitError } from '../errors.ts'
import type { GuestMemory } from '../guest/memory.ts'
import type { Vcpus } from '../guest/vcpus-port.ts'
import { loadKernels } from '../kernels/kernels.ts'
import { PEER_SILENT_MS } from '../limits.ts'
import type { DestinationWorld } from '../migration/destination-session.ts'
import { ThreadedExchange } from '../migration/exchange/threaded-exchange.ts'
import type { OwnershipStore } from '../migration/ownership-record.ts'
import type { Neighbour } from '../migration/ports.ts'
import { keepsArrivals, pulls, refersToOthers, shares } from '../migration/settings.ts'
import { ThreadedPageDestination } from '../migration/transfer/destination-transfer.ts'
import { lockedLambda } from '../programs/registry.ts'
import { warmControlCodec } from '../wire/control-codec.ts'
import { SocketControlLink } from '../wire/control-link.ts'
import { abortOf } from '../wire/messages.ts'
import { CAPABILITIES, PROTOCOL_VERSION } from '../wire/protocol.ts'
import type { Reservation } from './host-port.ts'
import { askNeighbours } from './neighbourhood.ts'
import { askVerdict } from './peer-agent.ts'
import { systemClock } from './system-clock.ts'
import { usageSince } from './usage.ts'

export interface DestinationOptions {
  readonly reservation: Reservation
  /** Host the source is dialled at. */
  readonly sourceAddress: string
  readonly memory: GuestMemory
  /** The memory begins as a stale copy of the guest. */
  readonly copy: boolean
  /** Guests of this agent whose pages the source may refer to. */
  readonly neighbours: readonly Neighbour[]
  readonly vcpus: Vcpus
  /** Requests that were answered here so far. */
  readonly served: () => number
  readonly store: OwnershipStore
}

export function destinationWorld(options: DestinationOptions): DestinationWorld {
  const { reservation, sourceAddress: host, memory } = options
  const { migration, token, generation, epoch, source, settings } = reservation
  const dialControl = async (at: string): Promise<SocketControlLink> => {
    const link = new SocketControlLink(await dial(at, source.controlPort), { side: 'destination' })
    const capabilities = [...CAPABILITIES]
    link.send({
      type: 'hello',
      version: PROTOCOL_VERSION,
      migration,
      token,
      generation,
      channel: 'control',
      capabilities,
    })
    const welcome = await link.receive()
    if (welcome.type === 'abort') throw GodwitError.from({ ...welcome.error, side: 'source' })
    if (welcome.type !== 'welcome') throw new GodwitError('unexpected-message', `'${welcome.type}' before welcome`)
    return link
  }
  const dialLanes = (of: number, at: string): Promise<ThreadedPageDestination> => {
    const ports = shares(settings.movement) ? source.dataPorts.slice(0, -1) : source.dataPorts
    const hash = settings.verify === 'digest'
    const lambda = lockedLambda(reservation.guest)
    const locked = lambda === null ? null : { lambda }
    const urgent = pulls(settings.movement)
    return ThreadedPageDestination.dial({
      memory,
      host: at,
      ports,
      token,
      migration,
      generation: of,
      hash,
      urgent,
      arrivalCache: keepsArrivals(settings) ? settings.deltaCache : 0,
      copy: options.copy,
      locked,
    })
  }
  return {
    id: migration,
    epoch,
    guestId: reservation.guest.id,
    source: source.agent,
    memory,
    kernels: loadKernels(memory),
    copy: options.copy ? { seed: seedOf(token), hash: settings.verify === 'digest' } : null,
    // A copy knows better than a neighbour what its guest is like.
    neighbours: refersToOthers(settings) && !options.copy ? askNeighbours(options.neighbours, seedOf(token)) : null,
    vcpus: options.vcpus,
    served: options.served,
    clock: systemClock,
    store: options.store,
    usage: usageSince(process.cpuUsage()),
    exchange: shares(settings.movement)
      ? (quiet) =>
          ThreadedExchange.create({
            ...{ memory, migration, token, hash: settings.verify === 'digest', quiet },
            where: { role: 'dials', port: source.dataPorts.at(-1) as number },
          })
      : null,
    sourceHost: host,
    connect: async () => {
      warmControlCodec(memory.layout.vcpus)
      const control = await dialControl(host)
      const pages = await dialLanes(generation, host).catch((thrown) => {
        // The source waits for these channels: it hears at once that they do not come, and why.
        control.send(abortOf(GodwitError.from(thrown), 'destination'))
        control.close()
        throw thrown
      })
      return { control, pages }
    },
    redial: (via) => dialControl(via ?? host),
    dialLanes: (next, via) => dialLanes(next, via ?? host),
    askPeerAgent: async () => {
      const verdict = await askVerdict({ host, port: source.agentPort }, migration, epoch)
      return verdict === 'unreachable' ? 'unknown' : verdict
    },
  }
}

function dial(host: string, port: number): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>()
  const socket = connect({ host, port, timeout: PEER_SILENT_MS })
  const fail = (cause: unknown): void => {
    socket.destroy()
    reject(
      new GodwitError('unreachable', `cannot reach the source at ${host}:${port}`, {
        side: 'destination',
        hint: 'the destination dials the source: open its data ports (7410–7499) or set --advertise',
        cause,
      }),
    )
  }
  socket.once('error', fail)
  socket.once('timeout', () => fail(new Error('timed out')))
  socket.once('connect', () => {
    socket.removeAllListeners('error')
    socket.removeAllListeners('timeout')
    socket.setTimeout(0)
    resolve(socket)
  })
  return promise
}
