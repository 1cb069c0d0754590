/** What every checker answers: nothing, or the broken rules with enough detail to look them up in the history. */
export type Violation = { readonly rule: string; readonly detail: string };
