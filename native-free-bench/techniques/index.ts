// Every technique of the bench, in the order in which they run. A new one is a file beside this and a line here.

import type { Technique } from '../harness.ts'
import { ceiling } from './ceiling.ts'

export const TECHNIQUES: readonly Technique[] = [ceiling]
