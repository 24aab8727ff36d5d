// The replay oracle against guests that ran on real threads: equal for every workload, and unequal for one flipped byte.

import { expect, test } from 'vitest'
import { runOracle } from '../../src/programs/oracle.ts'
import { WORKLOADS } from '../../src/programs/workloads.ts'
import { MIB, startGuest, stepsMore } from './guest-fixture.ts'

test.each(WORKLOADS.filter((workload) => workload !== 'idle'))('a %s guest equals its replay', async (workload) => {
  const guest = await startGuest({ vcpus: 3, options: { workload, content: 'dup' }, seed: 7 })
  await stepsMore(guest.vcpus, 5000)
  await guest.vcpus.pause()
  const states = guest.vcpus.save()
  expect(await runOracle({ ...guest, states, programsDirectory: null })).toEqual({
    equal: true,
    differing: [],
    registersDiffer: [],
  })
})

test('one flipped byte and one changed register are found', async () => {
  const guest = await startGuest({ memoryBytes: 4 * MIB, vcpus: 1 })
  await stepsMore(guest.vcpus, 1000)
  await guest.vcpus.pause()
  const states = guest.vcpus.save()
  for (const address of [0, 4096 * 700 + 4095])
    guest.memory.bytes[address] = (guest.memory.bytes[address] as number) ^ 1
  const changed = states.map(({ steps, registers }) => ({ steps, registers: registers.with(9, 77) }))
  expect(await runOracle({ ...guest, states: changed, programsDirectory: null })).toEqual({
    equal: false,
    differing: [0, 700],
    registersDiffer: [0],
  })
})

test('a step more is a difference', async () => {
  const guest = await startGuest({ vcpus: 1 })
  await stepsMore(guest.vcpus, 1000)
  await guest.vcpus.pause()
  const states = guest.vcpus.save().map(({ steps, registers }) => ({ steps: steps + 1, registers }))
  expect(await runOracle({ ...guest, states, programsDirectory: null })).toMatchObject({ equal: false })
})
