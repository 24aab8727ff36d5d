// The guest process: one a guest, spawned detached by the agent (supervise.ts) as `main.ts DIRECTORY`. A thin shell:
// it makes the GuestHost that guest.json asks for, answers the agent on the guest's socket, forwards migration events,
// writes reports, and ends when its guest has gone. Standard output and error go to the guest's log.

import { join } from 'node:path'
import { GodwitError } from '../errors.ts'
import { onMigrationEvent } from '../events.ts'
import type { GuestMemory } from '../guest/memory.ts'
import { type GuestFile, readGuestFile, writeGuestFile, writeJsonFile } from './guest-file.ts'
import type { GuestEnd, GuestHostFactory, GuestHostPort, GuestStatus, MigrateRequest, Resolution } from './host-port.ts'
import { type PageService, servePages } from './page-service.ts'
import { pageTable } from './page-table.ts'
import { quietEvents } from './quiet-events.ts'
import { type RpcHandler, type RpcServer, serveRpc } from './rpc.ts'
import type { Offer } from './supervise.ts'

/** One line of the guest's log; the agent quotes the last one when the process dies. */
function log(message: string): void {
  console.error(`${new Date().toISOString()} ${message}`)
}

/** The guest of this process: the one it was started for, and every one that took the memory of a kept copy over. */
interface Resident {
  host: Promise<GuestHostPort>
  readonly directory: string
  file: GuestFile
  pages: PageService | null
  /** Called when another guest has come. */
  onTaken: () => void
}

const commonOf = (directory: string, { programsDirectory, agentName, lines = null }: GuestFile) => ({
  directory,
  programsDirectory,
  agentName,
  lines,
})

async function makeHost(directory: string, file: GuestFile): Promise<GuestHostPort> {
  const { GuestHost } = (await import(file.hostModule)) as { GuestHost: GuestHostFactory }
  const common = commonOf(directory, file)
  if (file.role === 'run') return await GuestHost.create({ ...common, config: file.config })
  if (file.reservation === null || file.sourceAddress === null) {
    throw new GodwitError('data-dir-bad', 'guest.json of an incoming guest has no reservation')
  }
  const { reservation, sourceAddress, neighbours = [] } = file
  return await GuestHost.receive({ ...common, reservation, sourceAddress, neighbours })
}

/** Opens the page socket, once, if the agent wants one. A guest without it is no neighbour, and nothing else. */
async function openPages(resident: Resident): Promise<void> {
  const path = resident.file.pageSocketPath ?? null
  if (path === null || resident.pages !== null) return
  const memoryOf = async (): Promise<GuestMemory> => {
    const { memory } = await resident.host
    if (memory === undefined) throw new GodwitError('guest-not-running', 'there is no memory to show')
    return memory
  }
  resident.pages = await servePages(path, memoryOf).catch((error: unknown) => {
    log(`no page service: ${String(error)}`)
    return null
  })
}

/** The kept copy of this process receives its guest again. Whoever finds the process later is told so by its file. */
async function takeBack(resident: Resident, offer: Offer): Promise<GuestStatus> {
  const { directory, file } = resident
  const { reservation, sourceAddress, neighbours = [] } = offer
  if (reservation === null || sourceAddress === null) throw new GodwitError('bad-message', 'nothing to take back')
  const copy = await resident.host
  resident.host = copy.takeBack({ ...commonOf(directory, file), reservation, sourceAddress, neighbours })
  resident.host.catch(() => {})
  const host = await resident.host
  resident.file = { ...file, role: 'incoming', ...offer, pid: process.pid }
  writeGuestFile(directory, resident.file)
  await openPages(resident)
  resident.onTaken()
  return host.status()
}

function handlersOf(resident: Resident, flushEvents: () => void, end: (why: string) => void) {
  let server: RpcServer | undefined
  const host = async (): Promise<GuestHostPort> => await resident.host
  const handlers: Record<string, RpcHandler> = {
    ready: async () => (await host()).status(),
    status: async () => (await host()).status(),
    pages: async () => pageTable(await host()),
    cancel: async () => (await host()).cancel(),
    pause: async () => (await host()).pause(),
    resume: async () => (await host()).resume(),
    oracle: async () => (await host()).oracle(),
    verdict: async (params) => {
      const { migration, epoch } = params as { migration: string; epoch: number }
      return (await host()).verdict(migration, epoch)
    },
    resolve: async (params) => (await host()).resolve(params as { what: Resolution; peerIsDead: boolean }),
    recover: async (params) => {
      const { migration, via } = params as { migration: string; via: string | null }
      return (await host()).recover(migration, via)
    },
    // Answers at once that it began; the report comes as an event and a file, so that an agent may come and go.
    migrate: async (params) => {
      const request = params as MigrateRequest
      const report = await (await host()).migrate(request)
      try {
        writeJsonFile(join(resident.file.reportsDirectory, `${report.id}.json`), report)
      } catch (error) {
        log(`the report cannot be kept: ${String(error)}`)
      }
      log(`migration ${report.id} ${report.outcome}${report.error ? `: ${report.error.message}` : ''}`)
      flushEvents()
      server?.broadcast({ type: 'report', migration: report.id, report })
      return report
    },
    takeBack: async (params) => await takeBack(resident, params as Offer),
    stop: () => {
      setImmediate(() => end('stopped by the agent'))
    },
  }
  return {
    handlers,
    attach: (to: RpcServer) => {
      server = to
    },
  }
}

async function main(directory: string): Promise<void> {
  const file = readGuestFile(directory)
  if (file === null) throw new GodwitError('data-dir-bad', `no guest.json in ${directory}`)
  // The agent's terminal sends its Ctrl-C to nobody else, but a service manager may ask every process to end.
  process.on('SIGINT', () => {})
  let ending = false
  let server: RpcServer | undefined
  const end = async (why: string): Promise<void> => {
    if (ending) return
    ending = true
    log(why)
    const exit = setTimeout(() => process.exit(1), 3000)
    await closeHost().catch((error: unknown) => log(`closing: ${String(error)}`))
    await resident.pages?.close()
    await server?.close()
    clearTimeout(exit)
    process.exit(0)
  }
  process.on('SIGTERM', () => void end('asked to end'))

  const resident: Resident = { host: makeHost(directory, file), directory, file, pages: null, onTaken: () => {} }
  resident.host.catch(() => {})
  let ready = false
  // One that is still being made ends with the process.
  const closeHost = async (): Promise<void> => (ready ? await (await resident.host).close() : undefined)
  const events = quietEvents((event) => server?.broadcast(event))
  const { handlers, attach } = handlersOf(resident, events.flush, (why) => void end(why))
  await openPages(resident)
  server = await serveRpc(file.socketPath, handlers)
  attach(server)
  writeGuestFile(directory, { ...file, pid: process.pid })
  onMigrationEvent(null, events.take)
  try {
    await resident.host
    ready = true
  } catch (error) {
    // The agent's `ready` call is answered with this error first.
    log(`cannot start: ${(error as Error).message}`)
    setTimeout(() => process.exit(1), 250)
    return
  }
  log(`guest ${file.config.name} is ready (${file.role}), process ${process.pid}`)
  const how = await leaving(resident, () => server?.broadcast({ type: 'kept' }))
  // The report of a hand-over is written and sent right after; give it its turn.
  setTimeout(() => void end(`the guest has left: ${how}`), 100)
}

/** How the last guest of this process ended; `onKept` is called when one leaves its memory behind as a copy. */
async function leaving(resident: Resident, onKept: () => void): Promise<GuestEnd> {
  for (;;) {
    const taken = new Promise<void>((resolve) => {
      resident.onTaken = resolve
    })
    const host = await resident.host
    const how = await host.ended
    if (how !== 'kept') return how
    log('the guest has left; its memory stays as a copy')
    onKept()
    await taken
    log('the guest comes back into its copy')
  }
}

process.on('uncaughtException', (error) => {
  log(`guest process failed: ${error.stack ?? String(error)}`)
  process.exit(70)
})
process.on('unhandledRejection', (error) => {
  throw error
})

const directory = process.argv[2]
if (directory === undefined) {
  log('usage: main DIRECTORY')
  process.exit(2)
}
await main(directory)
