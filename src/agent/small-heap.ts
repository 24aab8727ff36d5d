// Keeps an agent small: it must stay below 120 MiB for months. Imported first by agent.ts, for its effect on the process.

import { setFlagsFromString } from 'node:v8'

// An agent answers a few requests a second: compact code and a small young generation are worth more than speed.
// Measured after 2,000 requests: 114 MiB instead of 130.
setFlagsFromString('--optimize-for-size')
setFlagsFromString('--max-semi-space-size=1')
setFlagsFromString('--semi-space-growth-factor=1')
