// How one side gives a guest away, vCPU by vCPU and page by page, while both sides run (R26–R28). The source does it, and
// when the migration is cancelled the destination does it in the other direction. Cuts of the link only make it longer.

import { GodwitError } from '../../errors.ts'
import { CROSSING_PATIENCE_MS } from '../../limits.ts'
import type { Clock, PageExchange, Vcpus } from '../ports.ts'

export interface GiverOptions {
  readonly vcpus: Vcpus
  readonly exchange: PageExchange
  readonly clock: Clock
  /** Those that are here; who may have left is not. */
  readonly here: Set<number>
  /** Resolves when the link is up: nobody stands still for one that is not. */
  readonly linked: () => Promise<void>
  /** Before a vCPU is stopped: sends ahead what it would miss, while everybody runs. */
  readonly narrow?: (vcpu: number) => Promise<void>
  /** It is about to cross, perhaps not for the first time; it was told to stand still at `heldAt`, hrtime ns. */
  readonly onHeld?: (vcpu: number, heldAt: bigint) => void
  /** The other side has it. */
  readonly onCrossed?: (vcpu: number) => void
  /** Asked before each step; false: no more is given. */
  readonly goOn: () => boolean
}

/** Gives the vCPUs that are here, one at a time, then everything else. False: it was told to stop. */
export async function giveAll(options: GiverOptions): Promise<boolean> {
  const { exchange, here, goOn } = options
  // One may have come that nobody has looked at yet: then there is more to give.
  do {
    if (!(await giveVcpus(options)) || !goOn()) return false
    exchange.push('everything')
    await exchange.drained()
  } while (here.size > 0)
  return goOn()
}

async function giveVcpus(options: GiverOptions): Promise<boolean> {
  const { exchange, clock, here, narrow, goOn } = options
  const homes: number[] = []
  for (const vcpu of [...here].sort((a, b) => a - b)) {
    if (goOn()) await narrow?.(vcpu)
    if (!(await giveVcpu(options, vcpu, homes))) return false
    homes.push(vcpu)
    if (!goOn()) return false
    // What it left behind comes before the next one stops: each has the link to itself.
    await drainedOrLate(exchange, clock)
  }
  return true
}

async function drainedOrLate(exchange: PageExchange, clock: Clock): Promise<void> {
  const over = new AbortController()
  const late = clock.sleep(CROSSING_PATIENCE_MS, over.signal).catch(() => {})
  await Promise.race([exchange.drained(), late])
  over.abort(new GodwitError('cancelled', 'over'))
}

/** `gone`: those that went before it. */
async function giveVcpu(options: GiverOptions, vcpu: number, gone: readonly number[]): Promise<boolean> {
  const { vcpus, exchange, clock, here, linked, onHeld, onCrossed, goOn } = options
  while (goOn()) {
    await linked()
    if (!goOn()) break
    const heldAt = clock.nowNs()
    if (!(await hold(vcpus, vcpu))) continue
    if (!goOn()) {
      vcpus.release(vcpu)
      break
    }
    here.delete(vcpu)
    onHeld?.(vcpu, heldAt)
    try {
      const crossed = exchange.cross(vcpu, vcpus.saveOne(vcpu))
      // Right behind it, not a round trip later: what it left behind is on its way before it asks.
      exchange.push({ homes: [...gone, vcpu] })
      await crossed
      onCrossed?.(vcpu)
      return true
    } catch (thrown) {
      // Nobody knows who has it (R26): it runs nowhere.
      if (GodwitError.from(thrown).code !== 'cancelled') throw thrown
      // The link was cut, and the other side never had it: it is ours, and runs on until the next attempt.
      exchange.push(gone.length > 0 ? { homes: gone } : null)
      here.add(vcpu)
      vcpus.release(vcpu)
    }
  }
  return false
}

/** False: it waits inside a step for a page (R4), which a cut may hold up for long; it runs on. */
async function hold(vcpus: Vcpus, vcpu: number): Promise<boolean> {
  try {
    await vcpus.hold(vcpu)
    return true
  } catch (thrown) {
    if (GodwitError.from(thrown).code !== 'vcpu-stuck') throw thrown
    return false
  }
}
