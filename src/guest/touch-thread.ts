// Touches every page of a fresh guest memory once, so that the kernel provides it before page data arrives: the first
// touch costs several times a copy. Started by touch.ts; nobody else may write the memory meanwhile.

import { workerData } from 'node:worker_threads'
import { PAGE_BYTES } from '../limits.ts'

const { pages } = workerData as { pages: WebAssembly.Memory }
const bytes = new Uint8Array(pages.buffer)
for (let at = 0; at < bytes.length; at += PAGE_BYTES) bytes[at] = 0
