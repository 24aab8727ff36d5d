// Cluster mode of a service port: which agent's port clients are to go to for a vCPU, from where its line is and what the
// agents have said. Where that is not known for sure, the port serves the client itself. Used by service-port.ts.

import { createHash } from 'node:crypto'
import type { Backend } from '../gateway/backend.ts'
import type { ClusterNode, ClusterView, Whereabouts } from '../gateway/cluster-view.ts'
import { hostKey } from '../wire/host-key.ts'

export interface ClusterFacts {
  readonly backend: Backend
  readonly self: () => { host: string; port: number }
  /** The port of the agent whose guest process has that line; null: not known, or it is this agent. */
  readonly peerAt: (line: { host: string; port: number }) => { host: string; port: number } | null
  /** The guest is on its way from here to there, and has not arrived for good. */
  readonly departing: () => boolean
}

/** An id as Redis Cluster's nodes have it; the same at every agent, also at one that knows this host as localhost. */
function nodeOf({ host: name, port }: { host: string; port: number }): ClusterNode {
  const host = hostKey(name)
  return { id: createHash('sha1').update(`${host}:${port}`).digest('hex'), host, port }
}

export class ServiceCluster implements ClusterView {
  readonly #facts: ClusterFacts
  #self: ClusterNode | null = null
  #where: (Whereabouts | undefined)[] = []

  constructor(facts: ClusterFacts) {
    this.#facts = facts
    facts.backend.onPlaces(() => this.forget())
  }

  get self(): ClusterNode {
    this.#self ??= nodeOf(this.#facts.self())
    return this.#self
  }

  /** Something has changed: everything is looked at again. */
  forget(): void {
    this.#where = []
  }

  whereIs(vcpu: number): Whereabouts {
    const known = this.#where[vcpu]
    if (known !== undefined) return known
    const { backend, peerAt, departing } = this.#facts
    const line = backend.place(vcpu)
    const peer = line === null ? null : peerAt(line)
    const found: Whereabouts =
      peer === null ? { how: 'here', node: this.self } : { how: departing() ? 'ask' : 'moved', node: nodeOf(peer) }
    this.#where[vcpu] = found
    return found
  }

  ownerOf(vcpu: number): ClusterNode {
    const { how, node } = this.whereIs(vcpu)
    return how === 'moved' ? node : this.self
  }
}
