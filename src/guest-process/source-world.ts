// The real world of a source session: ports, threads, sockets, the destination's agent. One per outgoing migration.

import { randomBytes } from 'node:crypto'
import { setImmediate as breathe } from 'node:timers/promises'
import { GodwitError } from '../errors.ts'
import type { GuestConfig } from '../guest/config.ts'
import type { GuestMemory } from '../guest/memory.ts'
import { loadKernels } from '../kernels/kernels.ts'
import { DIAL_IN_TIMEOUT_MS, relinkMs } from '../limits.ts'
import { ThreadedExchange } from '../migration/exchange/threaded-exchange.ts'
import type { OwnershipStore } from '../migration/ownership-record.ts'
import type { ControlLink, Vcpus } from '../migration/ports.ts'
import { type MigrationSettings, pulls, shares } from '../migration/settings.ts'
import type { SourceWorld } from '../migration/source-context.ts'
import { ThreadedPageSource } from '../migration/transfer/source-transfer.ts'
import { lockedLambda } from '../programs/registry.ts'
import type { ServiceLines } from '../service/service-lines.ts'
import { warmControlCodec } from '../wire/control-codec.ts'
import type { ControlMessage } from '../wire/messages.ts'
import { CAPABILITIES, PROTOCOL_VERSION } from '../wire/protocol.ts'
import { bootId } from './boot-id.ts'
import { ControlListener } from './control-listener.ts'
import type { MigrateRequest, Reservation } from './host-port.ts'
import { askVerdict, reserve } from './peer-agent.ts'
import { systemClock } from './system-clock.ts'
import { usageSince } from './usage.ts'

export interface SourceOptions {
  readonly request: MigrateRequest
  readonly settings: MigrationSettings
  readonly epoch: number
  readonly config: GuestConfig
  readonly memory: GuestMemory
  readonly vcpus: Vcpus
  /** Requests that were answered here so far. */
  readonly served: () => number
  /** Of a guest that serves: its gateways hear where it goes. */
  readonly lines: ServiceLines | null
  /** The guest stays paused wherever it ends. */
  readonly paused: boolean
  readonly store: OwnershipStore
  readonly crashed: Promise<never>
}

/** Throws why the destination gave up before all its channels were there. */
function reasonOf(message: ControlMessage): never {
  if (message.type === 'abort') throw GodwitError.from({ ...message.error, side: message.error.side ?? 'destination' })
  throw new GodwitError('unexpected-message', `'${message.type}' before the data channels`, { side: 'destination' })
}

/** Waits for the destination's connections; one that has accepted the guest and then died never makes them. */
async function dialIn(
  listener: ControlListener,
  pages: ThreadedPageSource,
  signal: AbortSignal,
): Promise<{ control: ControlLink; pages: ThreadedPageSource }> {
  const late = new AbortController()
  const timer = setTimeout(() => {
    const message = `the destination did not connect within ${DIAL_IN_TIMEOUT_MS / 1000} s`
    const hint = "the destination dials the source: see its guest's log, open the source's ports, or set --advertise"
    late.abort(new GodwitError('unreachable', message, { side: 'destination', hint }))
  }, DIAL_IN_TIMEOUT_MS)
  const either = AbortSignal.any([signal, late.signal])
  try {
    const control = await listener.next(either)
    const gone = control.ended.then(() => control.receive()).then(reasonOf)
    gone.catch(() => {})
    await Promise.race([pages.connected(either), gone]).catch((error) => {
      control.close()
      throw error
    })
    return { control, pages }
  } finally {
    clearTimeout(timer)
  }
}

/** The world and the way to give its ports back. */
export function openSource(options: SourceOptions): { world: SourceWorld; close(): Promise<void> } {
  const { request, settings, epoch, config, memory } = options
  const token = randomBytes(16).toString('hex')
  const names = { source: request.sourceAgent.name, destination: `${request.to.host}:${request.to.port}` }
  let listener: ControlListener | null = null
  let pages: ThreadedPageSource | null = null
  let exchange: ThreadedExchange | null = null
  let quiet: () => Promise<void> = async () => {}
  let preparing: Promise<void> = Promise.resolve()
  let closed = false
  let listenLanes: ((generation: number, ports: readonly number[]) => Promise<ThreadedPageSource>) | null = null
  const open = async (): Promise<void> => {
    warmControlCodec(config.vcpus)
    const where = { host: request.listenHost, portRange: request.dataPortRange }
    const identity = { migration: request.id, token, generation: 0 }
    listener = await ControlListener.listen({ ...where, ...identity })
    if (closed) throw new GodwitError('cancelled', 'the migration was cancelled while its ports were opened')
    const lambda = config.pace.kind === 'locked' ? lockedLambda(config) : null
    const locked = lambda === null ? null : { lambda }
    const urgent = pulls(settings.movement)
    const { channels, encode, lz4, deltaCache, bandwidth } = settings
    const notice = (text: string): void => console.error(text)
    const how = { channels, encode, lz4, deltaCache, bandwidth, notice, locked, urgent }
    const options = { memory, ...how, ...where, migration: request.id, token }
    listenLanes = (generation, ports) => ThreadedPageSource.listen({ ...options, generation, ports })
    pages = await listenLanes(0, [])
    if (!shares(settings.movement)) return
    const { host, portRange } = where
    exchange = await ThreadedExchange.create({
      ...{ memory, migration: request.id, token, hash: settings.verify === 'digest' },
      where: { role: 'listens', host, portRange },
      quiet: () => quiet(),
    })
  }
  const world: SourceWorld = {
    id: request.id,
    epoch,
    guest: config,
    memory,
    kernels: loadKernels(memory),
    vcpus: options.vcpus,
    served: options.served,
    clock: systemClock,
    store: options.store,
    settings,
    names,
    crashed: options.crashed,
    usage: usageSince(process.cpuUsage()),
    breathe,
    prepare: () => {
      preparing = open()
      return preparing
    },
    reserve: async (signal) => {
      if (listener === null || pages === null) throw new Error('reserve before prepare')
      const reservation: Reservation = {
        migration: request.id,
        token,
        generation: 0,
        epoch,
        guest: config,
        paused: options.paused,
        source: {
          agent: request.sourceAgent.name,
          agentPort: request.sourceAgent.port,
          host: settings.advertise,
          controlPort: listener.port,
          dataPorts: exchange === null ? [...pages.ports] : [...pages.ports, exchange.port],
          ...(options.lines === null ? {} : { linePort: options.lines.port }),
        },
        settings,
        protocol: PROTOCOL_VERSION,
        capabilities: [...CAPABILITIES],
      }
      const answer = await reserve(request.to, reservation, signal)
      names.destination = answer.agent
      if (answer.linePort !== null) options.lines?.elsewhere({ host: request.to.host, port: answer.linePort })
      const dialled = await dialIn(listener, pages, signal)
      return { ...dialled, sameHost: answer.bootId === bootId() }
    },
    exchange: (whenQuiet) => {
      quiet = whenQuiet
      return exchange
    },
    openLanes: async (generation) => {
      if (listenLanes === null || pages === null) throw new Error('lanes before prepare')
      pages = await listenLanes(generation, pages.ports)
      const connected = pages.connected(AbortSignal.timeout(relinkMs(3)))
      connected.catch(() => {})
      return { pages, connected }
    },
    redialled: (signal) => (listener as ControlListener).next(signal),
    askPeerAgent: async () => {
      const verdict = await askVerdict(request.to, request.id, epoch)
      return verdict === 'unreachable' ? 'unknown' : verdict
    },
  }
  // What is still being opened is awaited first, or it would outlive the migration.
  const close = async (): Promise<void> => {
    closed = true
    await preparing.catch(() => {})
    listener?.close()
    await pages?.close()
    await exchange?.close()
  }
  return { world, close }
}
