// Breadth-first exploration of every interleaving of a small model. A model is a state (plain JSON), its successors,
// and what must hold; the explorer prints the shortest trace to a violation. Used by every test in this folder.

export interface Step<State> {
  readonly label: string
  readonly state: State
}

export interface Model<State> {
  readonly initial: State
  /** Every step any party may take next. */
  successors(state: State): Step<State>[]
  /** The rule that is broken in this state, or null. */
  violation(state: State): string | null
  /** True where it is right that nothing can happen any more. */
  mayEnd(state: State): boolean
  /** A shorter or canonical form of a state; the default is its JSON. */
  key?(state: State): string
}

export interface Exploration {
  readonly states: number
  readonly ends: number
  /** Null when every interleaving keeps the rules. */
  readonly violation: { readonly rule: string; readonly trace: string[] } | null
}

/** Visits every reachable state, at most `maxStates`. A state without successors that may not end is a deadlock. */
export function explore<State>(model: Model<State>, maxStates = 2_000_000): Exploration {
  const keyOf = model.key ?? ((state: State) => JSON.stringify(state))
  const parents = new Map<string, { parent: string | null; label: string }>()
  const initialKey = keyOf(model.initial)
  parents.set(initialKey, { parent: null, label: 'start' })
  let frontier: { key: string; state: State }[] = [{ key: initialKey, state: model.initial }]
  let ends = 0
  const traceTo = (key: string): string[] => {
    const trace: string[] = []
    for (let at: string | null = key; at !== null; at = parents.get(at)?.parent ?? null) {
      trace.unshift(parents.get(at)?.label ?? '?')
    }
    return trace
  }
  const broken = (rule: string, key: string): Exploration => ({
    states: parents.size,
    ends,
    violation: { rule, trace: traceTo(key) },
  })
  while (frontier.length > 0) {
    const next: typeof frontier = []
    for (const { key, state } of frontier) {
      const rule = model.violation(state)
      if (rule !== null) return broken(rule, key)
      const steps = model.successors(state)
      if (steps.length === 0) {
        if (!model.mayEnd(state)) return broken('deadlock', key)
        ends++
      }
      for (const step of steps) {
        const stepKey = keyOf(step.state)
        if (parents.has(stepKey)) continue
        parents.set(stepKey, { parent: key, label: step.label })
        next.push({ key: stepKey, state: step.state })
      }
      if (parents.size > maxStates) throw new Error(`more than ${maxStates} states: make the model smaller`)
    }
    frontier = next
  }
  return { states: parents.size, ends, violation: null }
}
