// The yardstick of fault latency: both ends of a bare request and response beside a bulk stream (page-peer.ts), started
// here, on loopback or with the relay of `demo --chaos delay` between them.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { ChaosRelay, RELAY_HOST } from '../src/cli/chaos-relay.ts'
import { quantile } from './statistics.ts'

const PEER = fileURLToPath(new URL('page-peer.ts', import.meta.url))

interface Ports {
  readonly bulk: number
  readonly pages: number
}

/** Latencies in µs (`p50`, `p99`) of one page while `bytes` stream by; every byte takes `delayMs` each way. */
export async function bareExchange(bytes: number, delayMs = 0): Promise<Record<string, number>> {
  const server = fork(PEER, ['serve', String(bytes)])
  const asker = fork(PEER, ['ask'])
  let relay: ChaosRelay | null = null
  try {
    const [[ports]] = (await Promise.all([once(server, 'message'), once(asker, 'message')])) as [[Ports], unknown]
    if (delayMs > 0) {
      relay = await ChaosRelay.open(0, delayMs)
      for (const port of [ports.bulk, ports.pages]) await relay.add(port)
    }
    const answered = once(asker, 'message')
    asker.send({ ...ports, host: relay === null ? '127.0.0.1' : RELAY_HOST })
    const [{ latencies }] = (await answered) as [{ latencies: number[] }]
    return { p50: quantile(latencies, 0.5), p99: quantile(latencies, 0.99), count: latencies.length }
  } finally {
    for (const peer of [server, asker]) {
      const exit = once(peer, 'exit')
      peer.kill()
      await exit
    }
    await relay?.close()
  }
}
