// The thread of a load: runs it, hands marks and stop in, and progress and the result out. load.ts starts it.

import { parentPort, workerData } from 'node:worker_threads'
import { assert, GodwitError } from '../errors.ts'
import { LoadRun } from './run.ts'
import type { FromThread, LoadThreadData, ToThread } from './thread-messages.ts'

const PROGRESS_MS = 250

assert(parentPort !== null, 'a load has a thread of its own')
const port = parentPort
const say = (message: FromThread): void => port.postMessage(message)

const { settings, window } = workerData as LoadThreadData
const run = new LoadRun(settings, window)
port.on('message', (message: ToThread) => {
  try {
    if (message.type === 'stop') run.stop()
    else run.mark(message.name)
  } catch (error) {
    say({ type: 'failed', error: GodwitError.from(error).toJSON() })
    run.stop()
  }
})

try {
  await run.start()
  const warm = setTimeout(() => say({ type: 'ready' }), settings.warmUpMs)
  const progress = setInterval(() => say({ type: 'progress', progress: run.progress() }), PROGRESS_MS)
  try {
    say({ type: 'result', result: await run.run() })
  } finally {
    clearTimeout(warm)
    clearInterval(progress)
  }
} catch (error) {
  say({ type: 'failed', error: GodwitError.from(error).toJSON() })
}
port.close()
