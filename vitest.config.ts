// How `npm test` runs: each file in a process of its own, so that a guest's shared memory returns when the file ends.

import { defineConfig } from 'vitest/config'
import { compileCache } from './src/compile-cache.ts'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    pool: 'forks',
    // The threads and processes that tests start compile nothing twice.
    env: { NODE_COMPILE_CACHE: compileCache() },
    // Most tests start threads and processes of their own; two files at a time fill two cores.
    maxWorkers: 2,
    testTimeout: 30_000,
    // What is waited for is waited for also on a machine with other work: how fast it is says the bench.
    expect: { poll: { timeout: 10_000 } },
    hookTimeout: 30_000,
    teardownTimeout: 10_000,
  },
})
