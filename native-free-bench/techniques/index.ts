// Every technique of the bench, in the order in which they run. A new one is a file beside this and a line here.

import type { Technique } from '../harness.ts'
import { ceiling } from './ceiling.ts'
import { codecs } from './codecs.ts'
import { encodings } from './encodings.ts'
import { faultLatency } from './fault-latency.ts'
import { gang } from './gang.ts'
import { gateway } from './gateway.ts'
import { idleRate } from './idle-rate.ts'
import { kernels } from './kernels.ts'
import { lockedBytes } from './locked-bytes.ts'
import { memory } from './memory.ts'
import { pulledBytes } from './pulled-bytes.ts'
import { soft } from './soft.ts'
import { switchover } from './switchover.ts'
import { writeBarrier } from './write-barrier.ts'

export const TECHNIQUES: readonly Technique[] = [
  ceiling,
  writeBarrier,
  kernels,
  codecs,
  idleRate,
  switchover,
  lockedBytes,
  pulledBytes,
  encodings,
  gang,
  faultLatency,
  memory,
  gateway,
  soft,
]
