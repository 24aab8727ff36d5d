// Listening on a port of a range: what the control listener and every transfer thread of the source do.

import type { AddressInfo, Server } from 'node:net'
import { GodwitError } from '../errors.ts'

/** Listens on the first free port of `range` (both included; [0, 0]: the system chooses). Throws `no-port`. */
export async function listenInRange(server: Server, host: string, range: readonly [number, number]): Promise<number> {
  const [first, last] = range
  for (let port = first; port <= last; port++) {
    if (await tryListen(server, host, port)) return (server.address() as AddressInfo).port
  }
  if (first === last) {
    throw new GodwitError('no-port', `port ${first} at ${host} is taken`, {
      hint: 'choose another, or end what listens there',
    })
  }
  throw new GodwitError('no-port', `no free port from ${first} to ${last} on ${host}`, {
    hint: 'end other guests or migrations, or give the agent a wider range: --data-ports for migrations, --line-ports for guests that serve',
  })
}

/** False when the port is taken; any other failure throws. */
function tryListen(server: Server, host: string, port: number): Promise<boolean> {
  const { promise, resolve, reject } = Promise.withResolvers<boolean>()
  const onError = (cause: NodeJS.ErrnoException): void => {
    server.off('listening', onListening)
    if (cause.code === 'EADDRINUSE') resolve(false)
    else reject(new GodwitError('port-busy', `cannot listen on ${host}:${port}: ${cause.message}`, { cause }))
  }
  const onListening = (): void => {
    server.off('error', onError)
    resolve(true)
  }
  server.once('error', onError)
  server.once('listening', onListening)
  server.listen({ host, port, exclusive: true })
  return promise
}
