// The world of the soft model: two processes, their agents, one link, and one token that stands for all vCPUs and pages, which one
// side has or which is on its way. soft-model.ts makes the steps.

import { FIRST, type Hosts, type Side } from './hosts.ts'

export interface SoftVariant {
  /** Cuts, crashes of a process or of the guest, losses of a host, exchanges that fail; together. */
  readonly faults: number
  readonly decisions: number
  readonly recordsForgetSharing?: boolean
  /** A prepared destination takes "released" for leave to run. */
  readonly runsOnReleased?: boolean
  /** What is on its way is taken for given. */
  readonly goneUnconfirmed?: boolean
  /** A destination that is cut off takes what it has for everything. */
  readonly takesOverUnwhole?: boolean
  /** A source that is called off and cut off takes what it has for everything. */
  readonly goesOnUnwhole?: boolean
  /** A source whose peer is dead takes what it has for everything. */
  readonly keepsWhatItHas?: boolean
  /** A destination that has asked its source in vain does not look whether everything has come meanwhile. */
  readonly asksBlindly?: boolean
  /** This side does not say again on a later link that its exchange has failed. */
  readonly saysOnce?: Side
}

export interface SoftWorld extends Hosts {
  /** `gone`: with a process that died, or with bytes that nobody reads any more. */
  token: Side | 'to-destination' | 'to-source' | 'gone'
  confirmed: boolean // by whoever gave it
  /** The source gives no more; it has said so; the destination has heard it, and has nothing any more. */
  cancelled: boolean
  homeSaid: boolean
  homeHeard: boolean
  emptyThere: boolean
  /** The source has heard that the destination has nothing; the destination, that the source has nothing. */
  emptyHeard: boolean
  goneHeard: boolean
  /** Whose exchange has failed. */
  brokenSource: boolean
  brokenDestination: boolean
  /** The source has given everything, and says on every link that its exchange has failed. */
  mute: boolean
  /** The destination has nothing, and says on every link that its exchange has failed. */
  saysBroken: boolean
  /** The destination has heard that the source's has: it asks, and waits for the last that is still to be read. */
  asking: boolean
  /** It has ended lost, and had everything. */
  lostWhole: boolean
}

export const INITIAL: SoftWorld = {
  ...FIRST,
  token: 'source',
  confirmed: true,
  ...{ cancelled: false, homeSaid: false, homeHeard: false, emptyThere: false, emptyHeard: false, goneHeard: false },
  ...{ brokenSource: false, brokenDestination: false, mute: false, saysBroken: false, asking: false, lostWhole: false },
}

export const copy = (world: SoftWorld, change: Partial<SoftWorld> = {}): SoftWorld => ({
  ...structuredClone(world),
  ...change,
})
