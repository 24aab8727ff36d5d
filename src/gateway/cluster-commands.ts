// CLUSTER, for clients that know Redis Cluster: which agent's service port has which slots. The slots of a vCPU are those
// that its shard has; ownership is the vCPU's (cluster-view.ts).

import { wrongArguments } from '../programs/kv/command.ts'
import type { Reply } from '../programs/kv/reply.ts'
import { lengthOf, type Request, startOf, textOf } from '../programs/kv/request.ts'
import { unknownSubcommand } from '../programs/kv/server-commands.ts'
import { SLOTS, slotOf, slotsOf } from '../programs/kv/shares.ts'
import type { Client } from './client.ts'
import type { ClusterNode, ClusterView } from './cluster-view.ts'
import { NO_CLUSTER } from './failures.ts'

/** Slots from `first` to `last` and the port that clients ask for them. */
export interface SlotRange {
  readonly first: number
  readonly last: number
  readonly node: ClusterNode
}

/** All slots in their order; neighbours of one node are one range. */
function slotRanges(view: ClusterView, vcpus: number): SlotRange[] {
  const ranges: SlotRange[] = []
  for (let vcpu = 0; vcpu < vcpus; vcpu++) {
    const { first, last } = slotsOf(vcpu, vcpus)
    const node = view.ownerOf(vcpu)
    const before = ranges.at(-1)
    if (before?.node.id === node.id) ranges[ranges.length - 1] = { ...before, last }
    else ranges.push({ first, last, node })
  }
  return ranges
}

/** The nodes that have slots, this one in any case and first. */
function nodesOf(view: ClusterView, ranges: readonly SlotRange[]): { node: ClusterNode; ranges: SlotRange[] }[] {
  const nodes = [view.self, ...ranges.map(({ node }) => node)]
  const ids = [...new Set(nodes.map(({ id }) => id))]
  return ids.map((id) => ({
    node: nodes.find((node) => node.id === id) as ClusterNode,
    ranges: ranges.filter(({ node }) => node.id === id),
  }))
}

function slots(ranges: readonly SlotRange[], reply: Reply): void {
  reply.array(ranges.length)
  for (const { first, last, node } of ranges) {
    reply.array(3)
    reply.integer(first)
    reply.integer(last)
    reply.array(4)
    reply.text(node.host)
    reply.integer(node.port)
    reply.text(node.id)
    reply.array(0)
  }
}

function shards(view: ClusterView, ranges: readonly SlotRange[], reply: Reply): void {
  const nodes = nodesOf(view, ranges)
  reply.array(nodes.length)
  for (const { node, ranges } of nodes) {
    reply.array(4)
    reply.text('slots')
    reply.array(2 * ranges.length)
    for (const { first, last } of ranges) {
      reply.integer(first)
      reply.integer(last)
    }
    reply.text('nodes')
    reply.array(1)
    const facts = { id: node.id, port: node.port, ip: node.host, endpoint: node.host, role: 'master' }
    const rest = { 'replication-offset': 0, health: 'online' }
    const entries = Object.entries({ ...facts, ...rest })
    reply.array(2 * entries.length)
    for (const [name, value] of entries) {
      reply.text(name)
      if (typeof value === 'number') reply.integer(value)
      else reply.text(value)
    }
  }
}

function nodeLines(view: ClusterView, ranges: readonly SlotRange[]): string {
  const lines = nodesOf(view, ranges).map(({ node, ranges }) => {
    const flags = node.id === view.self.id ? 'myself,master' : 'master'
    const of = ranges.map(({ first, last }) => (first === last ? `${first}` : `${first}-${last}`))
    // The port of Redis's cluster bus, which there is none of, is 10,000 above the other.
    const address = `${node.host}:${node.port}@${(node.port + 10_000) % 65_536}`
    return [node.id, address, flags, '-', 0, 0, 1, 'connected', ...of].join(' ')
  })
  return `${lines.join('\n')}\n`
}

function facts(view: ClusterView, ranges: readonly SlotRange[]): string {
  const nodes = nodesOf(view, ranges).length
  return Object.entries({
    cluster_state: 'ok',
    cluster_slots_assigned: SLOTS,
    cluster_slots_ok: SLOTS,
    cluster_slots_pfail: 0,
    cluster_slots_fail: 0,
    cluster_known_nodes: nodes,
    cluster_size: ranges.length === 0 ? 0 : new Set(ranges.map(({ node }) => node.id)).size,
    cluster_current_epoch: 1,
    cluster_my_epoch: 1,
  })
    .map(([name, value]) => `${name}:${value}\r\n`)
    .join('')
}

const KNOWN: ReadonlySet<string> = new Set(['SLOTS', 'SHARDS', 'NODES', 'INFO', 'MYID'])
/** They need the keys of a slot, which no shard keeps apart, or would change whose slots are whose, which follows the vCPUs. */
const NOT_KEPT: ReadonlySet<string> = new Set(
  'COUNTKEYSINSLOT GETKEYSINSLOT ADDSLOTS ADDSLOTSRANGE DELSLOTS DELSLOTSRANGE SETSLOT FLUSHSLOTS MEET FORGET RESET FAILOVER'.split(
    ' ',
  ),
)

export function clusterCommand(client: Client, request: Request, reply: Reply): void {
  const { cluster, backend } = client.front
  const word = textOf(request, 1).toUpperCase()
  if (word === 'KEYSLOT') {
    if (request.count !== 3) return reply.error(wrongArguments('cluster|keyslot'))
    return reply.integer(slotOf(request.bytes, startOf(request, 2), lengthOf(request, 2)))
  }
  if (cluster === null) return reply.error(NO_CLUSTER)
  if (NOT_KEPT.has(word)) {
    return reply.error(
      `ERR 'cluster|${word.toLowerCase()}' is not carried: slots belong to the vCPUs of a guest and move with them`,
    )
  }
  if (KNOWN.has(word) && request.count !== 2) return reply.error(wrongArguments(`cluster|${word.toLowerCase()}`))
  const ranges = slotRanges(cluster, backend.vcpus)
  if (word === 'SLOTS') slots(ranges, reply)
  else if (word === 'SHARDS') shards(cluster, ranges, reply)
  else if (word === 'NODES') reply.text(nodeLines(cluster, ranges))
  else if (word === 'INFO') reply.text(facts(cluster, ranges))
  else if (word === 'MYID') reply.text(cluster.self.id)
  else unknownSubcommand(request, reply)
}
