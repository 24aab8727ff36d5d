// `npm run bench -- [NAMES…] [options]`: runs techniques one after the other and says which keep their figures.

import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { fails, type Outcome, runTechnique } from './harness.ts'
import { describeMachine } from './machine.ts'
import { printMachine, printOutcome } from './print.ts'
import { TECHNIQUES } from './techniques/index.ts'

const USAGE = `usage: npm run bench -- [NAMES…] [options]

  --quick            small sizes, few repetitions, within two minutes; only exact figures decide the exit status
  --repetitions N    timed runs of each figure (default 5, with --quick 2)
  --seed N           order of the runs and content of memory (default 1)
  --json FILE        writes every figure with its samples
  --compare FILE     prints the figures of an older --json FILE beside the new ones
  --list             names the techniques and ends
`

interface Document {
  readonly version: 1
  readonly outcomes: readonly Outcome[]
}

/** Ends with status 2, as every command does when it is not understood. */
function misused(message: string): never {
  process.stderr.write(`bench: ${message}\n\n${USAGE}`)
  process.exit(2)
}

function readArguments() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        quick: { type: 'boolean', default: false },
        repetitions: { type: 'string' },
        seed: { type: 'string', default: '1' },
        json: { type: 'string' },
        compare: { type: 'string' },
        list: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    return misused((error as Error).message)
  }
}

function wholeNumber(text: string, name: string, least: number): number {
  const value = Number(text)
  return Number.isInteger(value) && value >= least ? value : misused(`--${name} ${text} is not a number from ${least}`)
}

function readOlder(file: string | undefined): Document | null {
  if (file === undefined) return null
  try {
    const document = JSON.parse(readFileSync(file, 'utf8')) as Document
    return document.version === 1 ? document : misused(`${file} is not a bench document of version 1`)
  } catch (error) {
    return misused(`cannot read ${file}: ${(error as Error).message}`)
  }
}

async function main(): Promise<number> {
  const { values, positionals } = readArguments()
  const say = (line: string): void => void process.stdout.write(`${line}\n`)
  if (values.help) {
    process.stdout.write(USAGE)
    return 0
  }
  if (values.list) {
    for (const technique of TECHNIQUES) say(`${technique.name.padEnd(14)} ${technique.about}`)
    return 0
  }
  const unknown = positionals.filter((name) => !TECHNIQUES.some((technique) => technique.name === name))
  if (unknown.length > 0) misused(`no technique is called ${unknown.join(', ')}; --list names them`)
  const chosen = TECHNIQUES.filter((technique) => positionals.length === 0 || positionals.includes(technique.name))
  const { quick } = values
  const repetitions = wholeNumber(values.repetitions ?? (quick ? '2' : '5'), 'repetitions', 1)
  const seed = wholeNumber(values.seed, 'seed', 0)
  const older = readOlder(values.compare)
  const machine = describeMachine()
  const startedAt = new Date().toISOString()

  say(printMachine(machine))
  say(`seed ${seed}, ${repetitions} repetitions${quick ? ', quick: times are indications only' : ''}; memory warmed up`)
  const outcomes: Outcome[] = []
  for (const technique of chosen) {
    const log = (line: string): void => void process.stderr.write(`  … ${technique.name}: ${line}\n`)
    const outcome = await runTechnique(technique, { seed, quick, repetitions, log })
    outcomes.push(outcome)
    const before = older?.outcomes.find((other) => other.technique === outcome.technique)
    for (const line of printOutcome(outcome, before, older !== null)) say(line)
  }
  const failed = outcomes.filter((outcome) => fails(outcome, quick)).map((outcome) => outcome.technique)
  if (values.json !== undefined) {
    const document = { version: 1, startedAt, machine, seed, quick, repetitions, outcomes, failed }
    writeFileSync(values.json, `${JSON.stringify(document, null, 2)}\n`)
  }
  say('')
  say(failed.length === 0 ? 'every deciding figure is kept' : `not kept: ${failed.join(', ')}`)
  return failed.length === 0 ? 0 : 1
}

process.exitCode = await main()
