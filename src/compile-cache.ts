// Compiled modules are kept between processes: a process and its threads start in half the time. The place is Node.js's own
// for it; a directory that cannot be written is no error to Node.js.

import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** What NODE_COMPILE_CACHE is to be in the environment of a process or thread that is being started. */
export const compileCache = (): string => process.env.NODE_COMPILE_CACHE ?? join(tmpdir(), 'node-compile-cache')
