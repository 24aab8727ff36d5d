// What the service port of a guest in cluster mode knows of where the guest's vCPUs are, as clients see it. Made by the
// agent (agent/service-cluster.ts), read by client.ts for redirects and by cluster-commands.ts.

/** The service port of one agent. */
export interface ClusterNode {
  /** 40 hex digits, as Redis Cluster's. */
  readonly id: string
  readonly host: string
  readonly port: number
}

/**
 * `here`: served, or carried on, by this port. `moved`: it is there for good. `ask`: there for now, as long as its
 * migration is under way.
 */
export interface Whereabouts {
  readonly how: 'here' | 'moved' | 'ask'
  readonly node: ClusterNode
}

export interface ClusterView {
  readonly self: ClusterNode
  whereIs(vcpu: number): Whereabouts
  /** The node that clients are to ask first for the slots of a vCPU. */
  ownerOf(vcpu: number): ClusterNode
}
