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

test('what a free page holds does not matter; that it is free does', async () => {
  const guest = await startGuest({ memoryBytes: 2 * MIB, vcpus: 3, options: { workload: 'free', content: 'random' } })
  await stepsMore(guest.vcpus, 3000)
  await guest.vcpus.pause()
  const states = guest.vcpus.save()
  const ask = () => runOracle({ ...guest, states, programsDirectory: null })
  const { bytes, free } = guest.memory
  const wipe = (page: number) => bytes.fill(0, page * 4096, (page + 1) * 4096)
  for (const [page, isFree] of free.entries()) if (isFree !== 0 && page % 2 === 0) wipe(page)
  expect(await ask()).toMatchObject({ equal: true })
  const [first, last, used] = [free.indexOf(1), free.lastIndexOf(1), free.indexOf(0)]
  free[first] = 0
  free[used] = 1
  expect(await ask()).toMatchObject({ equal: false, differing: [first, used].sort((a, b) => a - b) })
  free[first] = 1
  free[used] = 0
  bytes[last * 4096] = (bytes[last * 4096] as number) ^ 1
  expect(await ask()).toMatchObject({ equal: true })
})
