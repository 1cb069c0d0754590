/**
 * Runs the Lua of a script, with `redis.call` going to whoever is given. The very text that a real server gets runs here, so
 * that a mistake in a script is a mistake in the simulator too. Start reading at `runLua`.
 */
import type { Block, Expression, Statement } from "./lua-syntax.ts";

export type LuaFunction = (values: readonly LuaValue[]) => readonly LuaValue[];
export type LuaValue = undefined | boolean | number | string | LuaTable | LuaFunction;

export class LuaTable {
  readonly #values = new Map<LuaValue, LuaValue>();

  static list(items: readonly LuaValue[]): LuaTable {
    const table = new LuaTable();
    for (const [index, item] of items.entries()) table.set(index + 1, item);
    return table;
  }

  get(key: LuaValue): LuaValue {
    return this.#values.get(key);
  }

  set(key: LuaValue, value: LuaValue): void {
    if (key === undefined || Number.isNaN(key)) throw new LuaError("table index is nil");
    if (value === undefined) this.#values.delete(key);
    else this.#values.set(key, value);
  }

  /** Of the list in it: as far as there is no gap. */
  get length(): number {
    let length = 0;
    while (this.#values.has(length + 1)) length++;
    return length;
  }

  entries(): [LuaValue, LuaValue][] {
    return [...this.#values];
  }

  items(): LuaValue[] {
    return Array.from({ length: this.length }, (_, index) => this.#values.get(index + 1));
  }
}

/** An error that a script raised, or that a command in it raised. */
export class LuaError extends Error {
  override readonly name = "LuaError";
}

export type LuaEnvironment = {
  readonly keys: readonly string[];
  readonly values: readonly string[];
  /** `redis.call`: throws what the command throws. */
  readonly call: (command: readonly string[]) => LuaValue;
};

type Ending = { readonly kind: "return"; readonly values: readonly LuaValue[] } | { readonly kind: "break" };

/** Scripts that run longer would stop a real server. */
const maxSteps = 1_000_000;

/** What the script returns; throws LuaError, or what `call` threw. */
export function runLua(script: Block, environment: LuaEnvironment): LuaValue {
  const run = new Run();
  const ending = run.block(script, new Scope(new Scope(undefined, globalsOf(environment))));
  return ending?.kind === "return" ? ending.values[0] : undefined;
}

class Scope {
  readonly #parent: Scope | undefined;
  readonly #names: Map<string, LuaValue>;

  constructor(parent: Scope | undefined, names = new Map<string, LuaValue>()) {
    this.#parent = parent;
    this.#names = names;
  }

  declare(name: string, value: LuaValue): void {
    this.#names.set(name, value);
  }

  get(name: string): LuaValue {
    const scope = this.#find(name);
    if (scope === undefined) throw new LuaError(`Script attempted to access nonexistent global variable '${name}'`);
    return scope.#names.get(name);
  }

  set(name: string, value: LuaValue): void {
    const scope = this.#find(name);
    if (scope === undefined || scope.#parent === undefined)
      throw new LuaError(`Attempt to modify a readonly table (global '${name}')`);
    scope.#names.set(name, value);
  }

  #find(name: string): Scope | undefined {
    if (this.#names.has(name)) return this;
    return this.#parent === undefined ? undefined : this.#parent.#find(name);
  }
}

class Run {
  #steps = 0;

  block(block: Block, scope: Scope): Ending | undefined {
    for (const statement of block) {
      if (++this.#steps > maxSteps) throw new LuaError(`the script takes more than ${maxSteps} steps`);
      const ending = this.#statement(statement, scope);
      if (ending !== undefined) return ending;
    }
    return undefined;
  }

  #statement(statement: Statement, scope: Scope): Ending | undefined {
    switch (statement.kind) {
      case "local": {
        const values = this.#list(statement.values, scope);
        for (const [index, name] of statement.names.entries()) scope.declare(name, values[index]);
        return undefined;
      }
      case "assign":
        return this.#assign(statement.targets, this.#list(statement.values, scope), scope);
      case "call":
        this.#many(statement.call, scope);
        return undefined;
      case "if": {
        const taken = statement.branches.find(({ condition }) => isTrue(this.#one(condition, scope)));
        return this.block(taken?.body ?? statement.otherwise, new Scope(scope));
      }
      case "while":
        while (isTrue(this.#one(statement.condition, scope))) {
          const ending = this.block(statement.body, new Scope(scope));
          if (ending !== undefined) return ending.kind === "break" ? undefined : ending;
          if (++this.#steps > maxSteps) throw new LuaError(`the script takes more than ${maxSteps} steps`);
        }
        return undefined;
      case "count":
        return this.#count(statement, scope);
      case "each":
        return this.#each(statement, scope);
      case "do":
        return this.block(statement.body, new Scope(scope));
      case "return":
        return { kind: "return", values: this.#list(statement.values, scope) };
      case "break":
        return statement;
    }
  }

  #assign(targets: readonly Expression[], values: readonly LuaValue[], scope: Scope): undefined {
    for (const [index, target] of targets.entries()) {
      if (target.kind === "name") scope.set(target.name, values[index]);
      else if (target.kind === "index")
        tableIn(this.#one(target.of, scope), "index").set(this.#one(target.key, scope), values[index]);
      else throw new LuaError("cannot assign to that");
    }
  }

  #count(statement: Extract<Statement, { kind: "count" }>, scope: Scope): Ending | undefined {
    const [from, to, by = 1] = statement.range.map((part) => numberIn(this.#one(part, scope), "'for' value"));
    if (from === undefined || to === undefined) throw new LuaError("'for' needs a first and a last value");
    for (let value = from; by > 0 ? value <= to : value >= to; value += by) {
      const inner = new Scope(scope);
      inner.declare(statement.name, value);
      const ending = this.block(statement.body, inner);
      if (ending !== undefined) return ending.kind === "break" ? undefined : ending;
    }
    return undefined;
  }

  /** `ipairs` and `pairs` give the pairs themselves here, as a list. */
  #each(statement: Extract<Statement, { kind: "each" }>, scope: Scope): Ending | undefined {
    const pairs = tableIn(this.#one(statement.over, scope), "iterate over");
    for (const pair of pairs.items()) {
      const inner = new Scope(scope);
      const values = tableIn(pair, "iterate over");
      for (const [index, name] of statement.names.entries()) inner.declare(name, values.get(index + 1));
      const ending = this.block(statement.body, inner);
      if (ending !== undefined) return ending.kind === "break" ? undefined : ending;
    }
    return undefined;
  }

  /** Values of a list: only a call at its end gives more than one. */
  #list(expressions: readonly Expression[], scope: Scope): LuaValue[] {
    return expressions.flatMap((expression, index) =>
      index === expressions.length - 1 ? this.#many(expression, scope) : [this.#one(expression, scope)],
    );
  }

  #many(expression: Expression, scope: Scope): readonly LuaValue[] {
    if (expression.kind !== "call") return [this.#one(expression, scope)];
    const callee = this.#one(expression.callee, scope);
    if (typeof callee !== "function") throw new LuaError(`attempt to call a ${typeOf(callee)} value`);
    return callee(this.#list(expression.values, scope));
  }

  #one(expression: Expression, scope: Scope): LuaValue {
    switch (expression.kind) {
      case "constant":
        return expression.value;
      case "name":
        return scope.get(expression.name);
      case "index":
        return tableIn(this.#one(expression.of, scope), "index").get(this.#one(expression.key, scope));
      case "call":
        return this.#many(expression, scope)[0];
      case "table":
        return this.#table(expression, scope);
      case "unary":
        return unary(expression.operator, this.#one(expression.operand, scope));
      case "binary": {
        const left = this.#one(expression.left, scope);
        if (expression.operator === "and") return isTrue(left) ? this.#one(expression.right, scope) : left;
        if (expression.operator === "or") return isTrue(left) ? left : this.#one(expression.right, scope);
        return binary(expression.operator, left, this.#one(expression.right, scope));
      }
    }
  }

  #table(expression: Extract<Expression, { kind: "table" }>, scope: Scope): LuaTable {
    const table = new LuaTable();
    let next = 1;
    for (const [index, { key, value }] of expression.fields.entries()) {
      if (key !== undefined) table.set(this.#one(key, scope), this.#one(value, scope));
      else if (index === expression.fields.length - 1)
        for (const item of this.#many(value, scope)) table.set(next++, item);
      else table.set(next++, this.#one(value, scope));
    }
    return table;
  }
}

function unary(operator: string, operand: LuaValue): LuaValue {
  if (operator === "not") return !isTrue(operand);
  if (operator === "-") return -numberIn(operand, "arithmetic");
  if (typeof operand === "string") return new TextEncoder().encode(operand).length;
  return tableIn(operand, "get length of").length;
}

function binary(operator: string, left: LuaValue, right: LuaValue): LuaValue {
  switch (operator) {
    case "==":
      return left === right;
    case "~=":
      return left !== right;
    case "..":
      return textIn(left, "concatenate") + textIn(right, "concatenate");
    case "<":
      return isBefore(left, right, false);
    case "<=":
      return isBefore(left, right, true);
    case ">":
      return isBefore(right, left, false);
    case ">=":
      return isBefore(right, left, true);
  }
  const [a, b] = [numberIn(left, "perform arithmetic on"), numberIn(right, "perform arithmetic on")];
  switch (operator) {
    case "+":
      return a + b;
    case "-":
      return a - b;
    case "*":
      return a * b;
    case "/":
      return a / b;
    default:
      return a - Math.floor(a / b) * b;
  }
}

function isBefore(left: LuaValue, right: LuaValue, orEqual: boolean): boolean {
  const comparable =
    (typeof left === "number" && typeof right === "number") || (typeof left === "string" && typeof right === "string");
  if (!comparable) throw new LuaError(`attempt to compare ${typeOf(left)} with ${typeOf(right)}`);
  return left < right || (orEqual && left === right);
}

function isTrue(value: LuaValue): boolean {
  return value !== undefined && value !== false;
}

function typeOf(value: LuaValue): string {
  if (value === undefined) return "nil";
  return value instanceof LuaTable ? "table" : typeof value;
}

function tableIn(value: LuaValue, what: string): LuaTable {
  if (value instanceof LuaTable) return value;
  throw new LuaError(`attempt to ${what} a ${typeOf(value)} value`);
}

function numberIn(value: LuaValue, what: string): number {
  const number = typeof value === "string" ? toNumber(value) : value;
  if (typeof number === "number") return number;
  throw new LuaError(`attempt to ${what} a ${typeOf(value)} value`);
}

function textIn(value: LuaValue, what: string): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return formatNumber(value, 14);
  throw new LuaError(`attempt to ${what} a ${typeOf(value)} value`);
}

function nameOf(value: LuaValue): string {
  if (typeof value === "string" || typeof value === "number") return textIn(value, "name");
  // A real one says where it is in memory.
  if (value instanceof LuaTable || typeof value === "function") return `${typeOf(value)}: 0x0`;
  return value === undefined ? "nil" : String(value);
}

/** As strtod of C reads it, which knows more than Lua's own syntax. */
function toNumber(text: string): number | undefined {
  const pattern =
    /^[+-]?(?:0x(?<hex>[\da-f]*)(?:\.(?<rest>[\da-f]*))?(?:p(?<power>[+-]?\d+))?|(?<decimal>(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)|(?<infinite>inf(?:inity)?)|nan)$/i;
  const trimmed = text.trim();
  const groups = pattern.exec(trimmed)?.groups;
  if (groups === undefined) return undefined;
  const { hex, rest = "", power = "0", decimal, infinite } = groups;
  if (hex !== undefined && hex + rest === "") return undefined;
  let number = Number.NaN;
  if (hex !== undefined) number = Number(`0x${hex}${rest}`) * 2 ** (Number(power) - 4 * rest.length);
  else if (decimal !== undefined) number = Number(decimal);
  else if (infinite !== undefined) number = Number.POSITIVE_INFINITY;
  return trimmed.startsWith("-") ? -number : number;
}

/** As `%.<digits>g` of C writes it. */
function formatNumber(value: number, digits: number): string {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const exponent = Number(value.toExponential(digits - 1).split("e")[1]);
  if (exponent >= -4 && exponent < digits) {
    const fixed = value.toFixed(Math.max(0, digits - 1 - exponent));
    return fixed.includes(".") ? fixed.replace(/\.?0+$/, "") : fixed;
  }
  const [mantissa, power] = value.toExponential(digits - 1).split("e") as [string, string];
  const short = mantissa.includes(".") ? mantissa.replace(/\.?0+$/, "") : mantissa;
  return `${short}e${power[0]}${power.slice(1).padStart(2, "0")}`;
}

/** As an argument of a command: whole, where it is. */
function argument(value: LuaValue): string {
  if (typeof value === "string") return value;
  if (typeof value === "number") return formatNumber(value, 17);
  throw new LuaError("Lua redis lib command arguments must be strings or integers");
}

function globalsOf({ keys, values, call }: LuaEnvironment): Map<string, LuaValue> {
  const table = (entries: Record<string, LuaValue>): LuaTable => {
    const made = new LuaTable();
    for (const [name, value] of Object.entries(entries)) made.set(name, value);
    return made;
  };
  const pcall: LuaFunction = (command) => {
    try {
      return [call(command.map(argument))];
    } catch (error) {
      return [table({ err: (error as Error).message })];
    }
  };
  const pairsOf = (pairs: readonly (readonly [LuaValue, LuaValue])[]) =>
    LuaTable.list(pairs.map((pair) => LuaTable.list(pair)));
  return new Map<string, LuaValue>([
    ["KEYS", LuaTable.list(keys)],
    ["ARGV", LuaTable.list(values)],
    [
      "redis",
      table({
        call: (command) => [call(command.map(argument))],
        pcall,
        error_reply: ([message]) => [table({ err: textIn(message, "use as an error") })],
        status_reply: ([message]) => [table({ ok: textIn(message, "use as a status") })],
      }),
    ],
    [
      "tonumber",
      ([value]) => [typeof value === "string" ? toNumber(value) : typeof value === "number" ? value : undefined],
    ],
    ["tostring", ([value]) => [nameOf(value)]],
    ["type", ([value]) => [typeOf(value)]],
    [
      "ipairs",
      ([value]) => [
        pairsOf(
          tableIn(value, "iterate over")
            .items()
            .map((item, index) => [index + 1, item]),
        ),
      ],
    ],
    ["pairs", ([value]) => [pairsOf(tableIn(value, "iterate over").entries())]],
    ["unpack", ([value]) => tableIn(value, "unpack").items()],
    [
      "error",
      ([message]) => {
        throw new LuaError(typeof message === "string" ? message : "an error");
      },
    ],
    [
      "math",
      table({
        floor: ([value]) => [Math.floor(numberIn(value, "round"))],
        ceil: ([value]) => [Math.ceil(numberIn(value, "round"))],
        max: (all) => [Math.max(...all.map((value) => numberIn(value, "compare")))],
        min: (all) => [Math.min(...all.map((value) => numberIn(value, "compare")))],
      }),
    ],
    [
      "table",
      table({
        insert: ([list, item]) => {
          const into = tableIn(list, "insert into");
          into.set(into.length + 1, item);
          return [];
        },
      }),
    ],
  ]);
}
