// The guest process: one a guest, spawned detached by the agent (supervise.ts) as `main.ts DIRECTORY`. A thin shell:
// it makes the GuestHost that guest.json asks for, answers the agent on the guest's socket, forwards migration events,
// writes reports, and ends when its guest has gone. Standard output and error go to the guest's log.

import { join } from 'node:path'
import { GodwitError } from '../errors.ts'
import { onMigrationEvent } from '../events.ts'
import { type GuestFile, readGuestFile, writeGuestFile, writeJsonFile } from './guest-file.ts'
import type { GuestHostFactory, GuestHostPort, MigrateRequest, Resolution } from './host-port.ts'
import { quietEvents } from './quiet-events.ts'
import { type RpcHandler, type RpcServer, serveRpc } from './rpc.ts'

/** One line of the guest's log; the agent quotes the last one when the process dies. */
function log(message: string): void {
  console.error(`${new Date().toISOString()} ${message}`)
}

async function makeHost(directory: string, file: GuestFile): Promise<GuestHostPort> {
  const { GuestHost } = (await import(file.hostModule)) as { GuestHost: GuestHostFactory }
  const common = { directory, programsDirectory: file.programsDirectory, agentName: file.agentName }
  if (file.role === 'run') return await GuestHost.create({ ...common, config: file.config })
  if (file.reservation === null || file.sourceAddress === null) {
    throw new GodwitError('data-dir-bad', 'guest.json of an incoming guest has no reservation')
  }
  return await GuestHost.receive({ ...common, reservation: file.reservation, sourceAddress: file.sourceAddress })
}

function handlersOf(
  hostReady: Promise<GuestHostPort>,
  file: GuestFile,
  flushEvents: () => void,
  end: (why: string) => void,
) {
  let server: RpcServer | undefined
  const host = async (): Promise<GuestHostPort> => await hostReady
  const handlers: Record<string, RpcHandler> = {
    ready: async () => (await host()).status(),
    status: async () => (await host()).status(),
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
        writeJsonFile(join(file.reportsDirectory, `${report.id}.json`), report)
      } catch (error) {
        log(`the report cannot be kept: ${String(error)}`)
      }
      log(`migration ${report.id} ${report.outcome}${report.error ? `: ${report.error.message}` : ''}`)
      flushEvents()
      server?.broadcast({ type: 'report', migration: report.id, report })
      return report
    },
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
  let host: GuestHostPort | undefined
  let server: RpcServer | undefined
  const end = async (why: string): Promise<void> => {
    if (ending) return
    ending = true
    log(why)
    const exit = setTimeout(() => process.exit(1), 3000)
    await host?.close().catch((error: unknown) => log(`closing: ${String(error)}`))
    await server?.close()
    clearTimeout(exit)
    process.exit(0)
  }
  process.on('SIGTERM', () => void end('asked to end'))

  const hostReady = makeHost(directory, file)
  hostReady.catch(() => {})
  const events = quietEvents((event) => server?.broadcast(event))
  const { handlers, attach } = handlersOf(hostReady, file, events.flush, (why) => void end(why))
  server = await serveRpc(file.socketPath, handlers)
  attach(server)
  writeGuestFile(directory, { ...file, pid: process.pid })
  onMigrationEvent(null, events.take)
  try {
    host = await hostReady
  } catch (error) {
    // The agent's `ready` call is answered with this error first.
    log(`cannot start: ${(error as Error).message}`)
    setTimeout(() => process.exit(1), 250)
    return
  }
  log(`guest ${file.config.name} is ready (${file.role}), process ${process.pid}`)
  const how = await host.ended
  // The report of a hand-over is written and sent right after; give it its turn.
  setTimeout(() => void end(`the guest has left: ${how}`), 100)
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
