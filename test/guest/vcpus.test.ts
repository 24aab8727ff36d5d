// GuestVcpus with real threads: pause and resume, pace, throttle, moving state, crashes and stuck vCPUs.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { grantSteps, grantsUsed, limitOf } from '../../src/guest/grants.ts'
import { HEADER } from '../../src/guest/layout.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { registersOf } from '../../src/guest/safepoint.ts'
import { HANDSHAKE_TIMEOUT_MS } from '../../src/limits.ts'
import { runOracle } from '../../src/programs/oracle.ts'
import { configOf, MIB, startGuest, stepsMore } from '../programs/guest-fixture.ts'

const locked = { kind: 'locked', lambda: null } as const
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** A directory with one program, gone when the test ends. */
function programs(name: string, source: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'godwit-programs-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  writeFileSync(join(directory, name), source)
  return directory
}

test('a paused guest stands still, and steps on after resume', async () => {
  const { vcpus, memory } = await startGuest({ vcpus: 4 })
  for (let time = 0; time < 20; time++) {
    await stepsMore(vcpus, 500)
    await vcpus.pause()
    const [steps, bytes] = [vcpus.stepCounts(), Buffer.from(memory.bytes)]
    await wait(2)
    expect(vcpus.stepCounts()).toEqual(steps)
    expect(Buffer.compare(bytes, memory.bytes)).toBe(0)
    const parked = vcpus.parkedAt()
    vcpus.resume()
    await vcpus.running()
    vcpus.leftAt().forEach((left, vcpu) => {
      expect(left).toBeGreaterThan(parked[vcpu] as bigint)
    })
  }
  expect(vcpus.handshakes.count).toBeGreaterThanOrEqual(20)
})

test('pauses and swaps wished at once are served one after the other', async () => {
  const { vcpus } = await startGuest({ vcpus: 2 })
  const swaps = await Promise.all([vcpus.swapCards(), vcpus.pause(), vcpus.swapCards(), vcpus.swapCards()])
  expect(swaps.flatMap((answer) => ('retired' in answer ? [answer.retired] : []))).toEqual([0, 1, 0])
  vcpus.resume()
  await vcpus.running()
})

test('a pause that a resume overtakes is withdrawn or was done, never stuck', async () => {
  const { vcpus } = await startGuest({ vcpus: 4 })
  const pause = vcpus.pause().catch((error: unknown) => error)
  await Promise.resolve()
  vcpus.resume()
  const answer = await pause
  if (answer instanceof Error) expect(answer).toMatchObject({ code: 'cancelled' })
  await stepsMore(vcpus, 100)
})

test.each([1, 3])('locked, %d vCPUs: steps are exactly the grants, whatever the timing', async (count) => {
  const run = async (): Promise<[number[], Buffer]> => {
    const guest = await startGuest({ vcpus: count, pace: locked })
    await wait(5)
    expect(guest.vcpus.steps()).toBe(0)
    for (let batch = 0; batch < 50; batch++) {
      grantSteps(guest.memory, 51.2)
      expect(await grantsUsed(guest.memory)).toBe(true)
    }
    await guest.vcpus.pause()
    return [guest.vcpus.stepCounts(), Buffer.from(guest.memory.bytes)]
  }
  const [[steps, bytes], [stepsAgain, bytesAgain]] = [await run(), await run()]
  expect(steps).toEqual(Array.from({ length: count }, (_, vcpu) => limitOf(2560, vcpu, count)))
  expect(stepsAgain).toEqual(steps)
  expect(Buffer.compare(bytes, bytesAgain)).toBe(0)
})

test('a wait for grants ends when they cannot be used', async () => {
  const { memory, vcpus } = await startGuest({ pace: locked })
  await vcpus.pause()
  grantSteps(memory, 10)
  expect(await grantsUsed(memory)).toBe(false)
  vcpus.resume()
  expect(await grantsUsed(memory)).toBe(true)
  expect(vcpus.steps()).toBe(10)
  Atomics.store(memory.controlWords, HEADER.abort, 1)
  expect(await grantsUsed(memory)).toBe(true)
})

test('limits sum up to the total', () => {
  for (const vcpus of [1, 2, 3, 7, 64]) {
    for (let total = 0; total < 200; total++) {
      const limits = Array.from({ length: vcpus }, (_, vcpu) => limitOf(total, vcpu, vcpus))
      expect(limits.reduce((sum, limit) => sum + limit, 0)).toBe(total)
    }
  }
})

test.each([0.5, 0.99])('a guest throttled by %d steps on, and at full speed after', async (share) => {
  for (const perSecond of [null, 50_000]) {
    const { vcpus } = await startGuest({ pace: { kind: 'free', perSecond } })
    vcpus.throttle(share)
    await stepsMore(vcpus, 20)
    await vcpus.swapCards()
    await vcpus.pause()
    vcpus.resume()
    vcpus.throttle(0)
    await stepsMore(vcpus, 2000)
    await vcpus.close()
  }
})

test('an idle guest rests and can be paused, swapped and resumed', async () => {
  const { vcpus } = await startGuest({ options: { workload: 'idle' } })
  await stepsMore(vcpus, 4)
  await vcpus.swapCards()
  await vcpus.pause()
  vcpus.resume()
  await vcpus.running()
  await stepsMore(vcpus, 2)
})

test('a guest goes on in another memory from registers, steps and pages', async () => {
  const here = await startGuest({ vcpus: 3, options: { workload: 'phased', content: 'mix' } })
  await stepsMore(here.vcpus, 30_000)
  await here.vcpus.pause()
  const memory = GuestMemory.create(here.config.memoryBytes, here.config.vcpus)
  memory.bytes.set(here.memory.bytes)
  const there = await startGuest({ ...here.config }, { startPaused: true, memory })
  there.vcpus.load(here.vcpus.save())
  there.vcpus.resume()
  await there.vcpus.running()
  await stepsMore(there.vcpus, 5000)
  await there.vcpus.pause()
  expect(there.vcpus.steps()).toBeGreaterThan(here.vcpus.steps())
  const states = there.vcpus.save()
  expect(await runOracle({ ...there, states, programsDirectory: null })).toMatchObject({ equal: true })
})

test('threads start one after the other where that is asked for', async () => {
  const programsDirectory = programs(
    'slow.mjs',
    `import { appendFileSync } from 'node:fs'
     export const create = ({ vcpu, options }) => {
       appendFileSync(options.log, 'begins ' + vcpu + '\\n')
       for (const until = Date.now() + 50; Date.now() < until; );
       appendFileSync(options.log, 'ready ' + vcpu + '\\n')
       return { step: () => false }
     }`,
  )
  const log = join(programsDirectory, 'log')
  const config = { program: 'slow.mjs', vcpus: 3, options: { log } }
  await startGuest(config, { programsDirectory, startPaused: true, oneByOneMs: 60_000 })
  const inOrder = [0, 1, 2].flatMap((vcpu) => [`begins ${vcpu}`, `ready ${vcpu}`])
  expect(readFileSync(log, 'utf8').trim().split('\n')).toEqual(inOrder)
})

test('and not for ever', async () => {
  const programsDirectory = programs(
    'sociable.mjs',
    `import { appendFileSync, readFileSync } from 'node:fs'
     const until = (probe) => {
       for (const late = Date.now() + 20_000; !probe(); ) if (Date.now() > late) throw new Error('alone')
     }
     export const create = ({ vcpu, options }) => {
       appendFileSync(options.log, String(vcpu))
       const begun = Date.now()
       if (vcpu === 0) until(() => Date.now() > begun + 50)
       else until(() => readFileSync(options.log).length === 3)
       return { step: () => false }
     }`,
  )
  const config = { program: 'sociable.mjs', vcpus: 3, options: { log: join(programsDirectory, 'log') } }
  await startGuest(config, { programsDirectory, startPaused: true, oneByOneMs: 20 })
})

test('a page that is older than its last write stops the guest', async () => {
  const guest = await startGuest({ vcpus: 1, options: { workload: 'hot', content: 'random' } })
  await stepsMore(guest.vcpus, 500)
  await guest.vcpus.pause()
  const old = Buffer.from(guest.memory.bytes)
  guest.vcpus.resume()
  await stepsMore(guest.vcpus, 5000)
  await guest.vcpus.pause()
  // All pages but the journals, the first two, as they were.
  guest.memory.bytes.set(old.subarray(2 * 4096), 2 * 4096)
  guest.vcpus.resume()
  expect((await guest.crashed).message).toMatch(/stale page \d+/)
})

test('R7: a step that throws crashes the guest, names the vCPU, and handshakes go on', async () => {
  const programsDirectory = programs(
    'thrower.mjs',
    `export const create = ({ vcpu }) => ({ step(a) { if (vcpu === 1 && ++a.registers[0] > 100) throw new Error('enough') } })`,
  )
  const { vcpus, crashed } = await startGuest({ program: 'thrower.mjs', vcpus: 3 }, { programsDirectory })
  expect(await crashed).toMatchObject({ code: 'guest-crashed', message: 'vCPU 1 crashed: enough' })
  await vcpus.swapCards()
  await vcpus.pause()
  expect(vcpus.stepCounts()[1]).toBe(100)
})

test('R7: a thread that ends counts as dead', async () => {
  const source = `export const create = () => ({ step(a) { if (++a.registers[0] > 100) process.exit(3) } })`
  const programsDirectory = programs('leaver.mjs', source)
  const { vcpus, crashed } = await startGuest({ program: 'leaver.mjs', vcpus: 1 }, { programsDirectory })
  expect(await crashed).toMatchObject({ code: 'guest-crashed' })
  await vcpus.pause()
})

/** A guest whose vCPU 1 stays in its 51st step until register 1 is set from outside. */
async function stuckGuest() {
  const source = `export const create = ({ vcpu }) => ({ step(a) {
    if (vcpu === 1 && ++a.registers[0] === 51) while (Atomics.load(a.registers, 1) === 0);
  } })`
  const programsDirectory = programs('stuck.mjs', source)
  const { vcpus, memory } = await startGuest({ program: 'stuck.mjs', vcpus: 2 }, { programsDirectory })
  const registers = registersOf(memory, 1)
  await expect.poll(() => registers[0]).toBe(51)
  return { vcpus, registers }
}

test('R7: a vCPU that reaches no safepoint fails the handshake and runs on', async () => {
  const { vcpus, registers } = await stuckGuest()
  await expect(vcpus.pause()).rejects.toMatchObject({ code: 'vcpu-stuck', message: expect.stringContaining('vCPU 1') })
  Atomics.store(registers, 1, 1)
  await stepsMore(vcpus, 100)
  await vcpus.pause()
})

test('R7: a time in which whoever waits stood still says nothing of the vCPU', async () => {
  const { vcpus, registers } = await stuckGuest()
  const pause = vcpus.pause()
  await wait(50)
  for (const until = performance.now() + 1.2 * HANDSHAKE_TIMEOUT_MS; performance.now() < until; );
  // It has looked again by then.
  await wait(50)
  Atomics.store(registers, 1, 1)
  await pause
})

test.each([
  ['no create', 'export const start = 1'],
  ['no step', 'export const create = () => ({})'],
  ['a throw', 'throw new Error("no")'],
  [
    'a throw while filling',
    'export const create = () => ({ step() {} }); export const fill = () => { throw new Error("no") }',
  ],
])('a module with %s is refused', async (_, source) => {
  const programsDirectory = programs('bad.mjs', source)
  const starting = startGuest({ program: 'bad.mjs' }, { programsDirectory })
  await expect(starting).rejects.toMatchObject({ code: 'program-invalid' })
})

test('the smallest and a larger guest begin', async () => {
  for (const memoryBytes of [65_536, 16 * MIB]) {
    const { vcpus } = await startGuest({ memoryBytes, vcpus: 2 })
    await stepsMore(vcpus, 100)
    await vcpus.close()
  }
  expect(configOf().memoryBytes).toBe(2 * MIB)
})
