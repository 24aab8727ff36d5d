// `godwit demo --chaos`: the link is cut while the guest pulls its memory, it recovers, and nothing is lost; or the link is
// long, and whoever asks for a page waits for a round trip.

import { expect, test } from 'vitest'
import type { MigrationReport } from '../../src/migration/report.ts'
import { godwit } from '../cli/buffer-terminal.ts'

test.each([
  ['post-copy', 3, []],
  ['post-copy', 2, ['--channels', '3', '--vcpus', '4', '--push-order', 'linear']],
  // Half of the memory is dirty at the switch: the pull lasts long enough for three cuts on a busy machine, too.
  ['hybrid', 3, ['--workload', 'diab']],
] as const)('%s recovers from %i cuts, %j', { timeout: 120_000 }, async (movement, cuts, more) => {
  const words = ['--movement', movement, '--chaos', `cut:${cuts}`, '--memory', '128MiB', '--bandwidth', '100MB/s']
  const { status, output, errors } = await godwit('demo', ...words, ...more, '--json')
  const report = JSON.parse(output) as MigrationReport
  expect({ status, errors, error: report.error }).toEqual({ status: 0, errors: '', error: undefined })
  expect(report).toMatchObject({ outcome: 'completed', consistent: true, checks: { oracle: true } })
  expect(report.pull?.recoveries).toBe(cuts)
})

test('a page that is asked for over a long link takes a round trip', { timeout: 120_000 }, async () => {
  const words = ['--movement', 'post-copy', '--chaos', 'delay:20ms', '--memory', '64MiB', '--bandwidth', '100MB/s']
  const { status, output, errors } = await godwit('demo', ...words, '--json')
  const report = JSON.parse(output) as MigrationReport
  expect({ status, errors, error: report.error }).toEqual({ status: 0, errors: '', error: undefined })
  expect(report).toMatchObject({ outcome: 'completed', consistent: true, checks: { oracle: true } })
  expect(report.faults?.latencyUs.p50).toBeGreaterThan(35_000)
})
