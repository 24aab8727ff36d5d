// A process that gives way takes its usual share again, whatever happens to it and to the file that says so.

import { mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ProcessorShare } from '../../src/guest-process/processor-share.ts'
import { GIVE_WAY_MS } from '../../src/limits.ts'

let directory: string
let path: string

beforeEach(() => {
  vi.useFakeTimers()
  directory = mkdtempSync(join(tmpdir(), 'godwit-test-'))
  path = join(directory, 'autogroup')
})

afterEach(() => {
  vi.useRealTimers()
  rmSync(directory, { recursive: true })
})

const said = (): string => readFileSync(path, 'utf8')

test('it gives way until it is told, and no longer than it may', () => {
  const share = new ProcessorShare(path)
  share.giveWay()
  expect(said()).toBe('10')
  share.takeUsual()
  expect(said()).toBe('0')
  share.giveWay()
  vi.advanceTimersByTime(GIVE_WAY_MS - 1)
  expect(said()).toBe('10')
  vi.advanceTimersByTime(1)
  expect(said()).toBe('0')
  expect(vi.getTimerCount()).toBe(0)
})

test('a kernel that takes no change just now is asked again', () => {
  const share = new ProcessorShare(path)
  share.giveWay()
  rmSync(path)
  mkdirSync(path)
  share.takeUsual()
  vi.advanceTimersByTime(500)
  rmdirSync(path)
  vi.advanceTimersByTime(100)
  expect(said()).toBe('0')
  expect(vi.getTimerCount()).toBe(0)
})

test('where there is no such file nothing happens', () => {
  const share = new ProcessorShare(join(directory, 'no', 'such'))
  share.giveWay()
  share.takeUsual()
  expect(vi.getTimerCount()).toBe(0)
})
