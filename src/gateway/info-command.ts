// INFO of a service port: what its shards say together, and what only the port knows. dispatch.ts calls it.

import { infoText, type Sections } from '../programs/kv/info.ts'
import { REDIS_VERSION } from '../programs/kv/server-commands.ts'
import type { Front } from './front.ts'

/** RESP of the sections that are wanted. */
export function infoReply(front: Front, shards: Sections, wanted: readonly string[]): Uint8Array {
  const sections: Sections = {
    ...shards,
    Server: {
      redis_version: REDIS_VERSION,
      redis_mode: front.cluster === null ? 'standalone' : 'cluster',
      process_id: process.pid,
      tcp_port: front.port,
    },
    Clients: { connected_clients: front.clients.size, maxclients: front.maxClients },
    Persistence: { loading: 0 },
    Stats: {
      ...shards.Stats,
      total_connections_received: front.connections,
      gateway_commands_processed: front.commands,
      gateway_commands_waiting: front.backend.waiting,
    },
    Replication: { role: 'master', connected_slaves: 0 },
    Cluster: { cluster_enabled: front.cluster === null ? 0 : 1 },
  }
  const text = Buffer.from(infoText(sections, wanted), 'latin1')
  return Buffer.concat([Buffer.from(`$${text.length}\r\n`), text, Buffer.from('\r\n')])
}
