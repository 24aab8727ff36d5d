import { onMigrationEvent } from '../src/events.ts'
import { Journey } from './support/journey.ts'

const [vcpus, workload, perSecond] = [
  Number(process.argv[2] ?? 2),
  process.argv[3] ?? 'hot',
  Number(process.argv[4] ?? 100000),
]
const j = await Journey.begin({
  vcpus,
  memoryBytes: 16 * 1024 ** 2,
  options: { workload },
  pace: { kind: 'free', perSecond },
})
const t0 = performance.now()
onMigrationEvent(Journey.nextId, (e) => {
  if (e.type === 'stage') console.log((performance.now() - t0).toFixed(1), e.stage)
})
const timer = setInterval(() => {
  const s: any = j.source
  const d: any = j.agent.arrivals.at(-1)
  console.log(
    (performance.now() - t0).toFixed(0),
    'steps',
    s.vcpus.stepCounts().join(),
    d?.vcpus.stepCounts().join(),
    s.status().state,
    d?.status().state,
    JSON.stringify((globalThis as any).GX?.map((x: any) => x.counts)),
  )
}, 1000)
const late = setTimeout(() => process.exit(1), 12000)
const report = await j.move({ movement: 'soft' })
console.log(
  JSON.stringify({
    soft: report.soft,
    time: report.timeMs,
    error: report.error,
    checks: report.checks,
    outcome: report.outcome,
    net: report.faults?.network,
    p50: report.faults?.latencyUs,
  }),
)
clearInterval(timer)
try {
  await j.expectArrived(report)
  console.log('ORACLE OK')
} catch (e) {
  console.log('BAD', String(e).slice(0, 300))
}
await j.close()
clearTimeout(late)
