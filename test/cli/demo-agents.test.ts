// The agents of a demo leave nothing behind, however they end.

import { expect, test } from 'vitest'
import { DemoAgent } from '../../src/cli/demo-agents.ts'
import { isAlive } from '../../src/guest-process/supervise.ts'

test.each(['SIGTERM', 'SIGKILL'] as const)('the guests of an agent that ends by %s end, too', async (signal) => {
  const agent = await DemoAgent.start('alpha', [0, 0])
  try {
    const { pid } = await agent.client.startGuest({ name: 'demo', memoryBytes: 65_536, program: 'mutator' })
    expect(isAlive(pid)).toBe(true)
    process.kill((await agent.client.info()).pid, signal)
    await agent.close()
    expect(isAlive(pid)).toBe(false)
  } finally {
    await agent.close()
  }
})
