// Imported by test files whose properties have tens of thousands of cases: seconds of work, and a multiple of that where others have
// the processors.

import { vi } from 'vitest'

vi.setConfig({ testTimeout: 120_000 })
