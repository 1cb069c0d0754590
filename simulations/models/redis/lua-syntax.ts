/**
 * The syntax of the Lua that scripts for Redis are written in, as far as they need it: locals, assignments, `if`, `while`,
 * `for`, calls, tables. What is beyond it (functions of one's own, methods, goto) is refused by name, never half-understood.
 */

export type Expression =
  | { readonly kind: "constant"; readonly value: string | number | boolean | undefined }
  | { readonly kind: "name"; readonly name: string }
  | { readonly kind: "index"; readonly of: Expression; readonly key: Expression }
  | { readonly kind: "call"; readonly callee: Expression; readonly values: readonly Expression[] }
  | { readonly kind: "table"; readonly fields: readonly TableField[] }
  | { readonly kind: "unary"; readonly operator: string; readonly operand: Expression }
  | { readonly kind: "binary"; readonly operator: string; readonly left: Expression; readonly right: Expression };

/** Without a key: the next place of the list. */
export type TableField = { readonly key: Expression | undefined; readonly value: Expression };

export type Statement =
  | { readonly kind: "local"; readonly names: readonly string[]; readonly values: readonly Expression[] }
  | { readonly kind: "assign"; readonly targets: readonly Expression[]; readonly values: readonly Expression[] }
  | { readonly kind: "call"; readonly call: Expression }
  | { readonly kind: "if"; readonly branches: readonly Branch[]; readonly otherwise: Block }
  | { readonly kind: "while"; readonly condition: Expression; readonly body: Block }
  | { readonly kind: "count"; readonly name: string; readonly range: readonly Expression[]; readonly body: Block }
  | { readonly kind: "each"; readonly names: readonly string[]; readonly over: Expression; readonly body: Block }
  | { readonly kind: "do"; readonly body: Block }
  | { readonly kind: "return"; readonly values: readonly Expression[] }
  | { readonly kind: "break" };

export type Branch = { readonly condition: Expression; readonly body: Block };
export type Block = readonly Statement[];

export class LuaSyntaxError extends Error {
  override readonly name = "LuaSyntaxError";
}

type Token = { readonly kind: "name" | "word" | "number" | "text" | "mark" | "end"; readonly text: string };

const words = new Set(
  "and break do else elseif end false for function goto if in local nil not or repeat return then true until while".split(
    " ",
  ),
);

/** From the loosest to the tightest; `..` binds to the right. */
const levels = [["or"], ["and"], ["<", ">", "<=", ">=", "~=", "=="], [".."], ["+", "-"], ["*", "/", "%"]];
const escapes: Record<string, string> = { n: "\n", r: "\r", t: "\t", a: "\x07", b: "\b", f: "\f", v: "\v" };

export function parseLua(source: string): Block {
  const parser = new Parser(tokensOf(source));
  const block = parser.block();
  parser.expect("end of the script", (token) => token.kind === "end");
  return block;
}

function tokensOf(source: string): readonly Token[] {
  const pattern =
    /\s+|--\[\[[\s\S]*?\]\]|--[^\n]*|(?<name>[A-Za-z_]\w*)|(?<number>0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|\[\[\n?(?<long>[\s\S]*?)\]\]|"(?<double>(?:\\[\s\S]|[^"\\\n])*)"|'(?<single>(?:\\[\s\S]|[^'\\\n])*)'|(?<mark>\.\.\.|\.\.|[<>~=]=|[-+*/%^#<>=(){}[\];:,.])/y;
  const tokens: Token[] = [];
  while (pattern.lastIndex < source.length) {
    const at = pattern.lastIndex;
    const groups = pattern.exec(source)?.groups;
    if (groups === undefined) throw new LuaSyntaxError(`unexpected symbol near '${source.slice(at, at + 10)}'`);
    const { name, number, long, double, single, mark } = groups;
    const quoted = double ?? single;
    if (name !== undefined) tokens.push({ kind: words.has(name) ? "word" : "name", text: name });
    else if (number !== undefined) tokens.push({ kind: "number", text: number });
    else if (long !== undefined) tokens.push({ kind: "text", text: long });
    else if (quoted !== undefined) tokens.push({ kind: "text", text: withEscapes(quoted) });
    else if (mark === "^") throw new LuaSyntaxError("`^` is beyond the Lua of this model");
    else if (mark !== undefined) tokens.push({ kind: "mark", text: mark });
  }
  return [...tokens, { kind: "end", text: "<eof>" }];
}

function withEscapes(text: string): string {
  return text.replace(/\\(\d{1,3}|[\s\S])/g, (_, escaped: string) =>
    /^\d/.test(escaped) ? String.fromCharCode(Number(escaped)) : (escapes[escaped] ?? escaped),
  );
}

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  block(): Block {
    const statements: Statement[] = [];
    while (!this.#isOneOf("end", "else", "elseif", "until") && this.#next.kind !== "end") {
      if (this.#take(";")) continue;
      const statement = this.#statement();
      statements.push(statement);
      if (statement.kind === "return" || statement.kind === "break") {
        this.#take(";");
        break;
      }
    }
    return statements;
  }

  expect(what: string, fits: (token: Token) => boolean): Token {
    const token = this.#next;
    if (!fits(token)) throw new LuaSyntaxError(`'${what}' expected near '${token.text}'`);
    this.#at++;
    return token;
  }

  get #next(): Token {
    return this.#tokens[this.#at] as Token;
  }

  #isOneOf(...texts: readonly string[]): boolean {
    const { kind, text } = this.#next;
    return (kind === "word" || kind === "mark") && texts.includes(text);
  }

  #take(text: string): boolean {
    if (!this.#isOneOf(text)) return false;
    this.#at++;
    return true;
  }

  #must(text: string): void {
    this.expect(text, () => this.#isOneOf(text));
  }

  #name(): string {
    return this.expect("a name", ({ kind }) => kind === "name").text;
  }

  #statement(): Statement {
    if (this.#isOneOf("function", "goto", "repeat"))
      throw new LuaSyntaxError(`\`${this.#next.text}\` is beyond the Lua of this model`);
    if (this.#take("local")) return this.#local();
    if (this.#take("if")) return this.#if();
    if (this.#take("while")) {
      const condition = this.#expression();
      this.#must("do");
      return { kind: "while", condition, body: this.#body() };
    }
    if (this.#take("for")) return this.#for();
    if (this.#take("do")) return { kind: "do", body: this.#body() };
    if (this.#take("break")) return { kind: "break" };
    if (this.#take("return")) {
      const ends = this.#isOneOf("end", "else", "elseif", "until", ";") || this.#next.kind === "end";
      return { kind: "return", values: ends ? [] : this.#list() };
    }
    const first = this.#suffixed();
    if (first.kind === "call") return { kind: "call", call: first };
    const targets: Expression[] = [first];
    while (this.#take(",")) targets.push(this.#suffixed());
    this.#must("=");
    return { kind: "assign", targets, values: this.#list() };
  }

  #body(): Block {
    const block = this.block();
    this.#must("end");
    return block;
  }

  #local(): Statement {
    if (this.#isOneOf("function")) throw new LuaSyntaxError("`function` is beyond the Lua of this model");
    const names = [this.#name()];
    while (this.#take(",")) names.push(this.#name());
    return { kind: "local", names, values: this.#take("=") ? this.#list() : [] };
  }

  #if(): Statement {
    const branches: Branch[] = [];
    do {
      const condition = this.#expression();
      this.#must("then");
      branches.push({ condition, body: this.block() });
    } while (this.#take("elseif"));
    const otherwise = this.#take("else") ? this.block() : [];
    this.#must("end");
    return { kind: "if", branches, otherwise };
  }

  #for(): Statement {
    const names = [this.#name()];
    while (this.#take(",")) names.push(this.#name());
    if (this.#take("=")) {
      const range = this.#list();
      this.#must("do");
      return { kind: "count", name: names[0] as string, range, body: this.#body() };
    }
    this.#must("in");
    const over = this.#expression();
    this.#must("do");
    return { kind: "each", names, over, body: this.#body() };
  }

  #list(): Expression[] {
    const list = [this.#expression()];
    while (this.#take(",")) list.push(this.#expression());
    return list;
  }

  #expression(level = 0): Expression {
    const operators = levels[level];
    if (operators === undefined) return this.#unary();
    let left = this.#expression(level + 1);
    while (this.#isOneOf(...operators)) {
      const operator = this.#next.text;
      this.#at++;
      const right = this.#expression(operator === ".." ? level : level + 1);
      left = { kind: "binary", operator, left, right };
    }
    return left;
  }

  #unary(): Expression {
    for (const operator of ["not", "-", "#"])
      if (this.#take(operator)) return { kind: "unary", operator, operand: this.#unary() };
    return this.#simple();
  }

  #simple(): Expression {
    const { kind, text } = this.#next;
    if (kind === "number" || kind === "text") {
      this.#at++;
      return { kind: "constant", value: kind === "number" ? Number(text) : text };
    }
    if (this.#take("nil")) return { kind: "constant", value: undefined };
    if (this.#take("true")) return { kind: "constant", value: true };
    if (this.#take("false")) return { kind: "constant", value: false };
    if (this.#isOneOf("{")) return this.#table();
    if (this.#isOneOf("function", "...")) throw new LuaSyntaxError(`\`${text}\` is beyond the Lua of this model`);
    return this.#suffixed();
  }

  #suffixed(): Expression {
    let expression: Expression;
    if (this.#take("(")) {
      expression = this.#expression();
      this.#must(")");
    } else expression = { kind: "name", name: this.#name() };
    for (;;) {
      if (this.#take("."))
        expression = { kind: "index", of: expression, key: { kind: "constant", value: this.#name() } };
      else if (this.#take("[")) {
        expression = { kind: "index", of: expression, key: this.#expression() };
        this.#must("]");
      } else if (this.#take("(")) {
        const values = this.#isOneOf(")") ? [] : this.#list();
        this.#must(")");
        expression = { kind: "call", callee: expression, values };
      } else if (this.#isOneOf("{")) expression = { kind: "call", callee: expression, values: [this.#table()] };
      else if (this.#next.kind === "text") expression = { kind: "call", callee: expression, values: [this.#simple()] };
      else if (this.#isOneOf(":")) throw new LuaSyntaxError(`\`${this.#next.text}\` is beyond the Lua of this model`);
      else return expression;
    }
  }

  #table(): Expression {
    this.#must("{");
    const fields: TableField[] = [];
    while (!this.#isOneOf("}")) {
      fields.push(this.#field());
      if (!this.#take(",") && !this.#take(";")) break;
    }
    this.#must("}");
    return { kind: "table", fields };
  }

  #field(): TableField {
    if (this.#take("[")) {
      const key = this.#expression();
      this.#must("]");
      this.#must("=");
      return { key, value: this.#expression() };
    }
    const after = this.#tokens[this.#at + 1];
    if (this.#next.kind === "name" && after?.kind === "mark" && after.text === "=") {
      const key: Expression = { kind: "constant", value: this.#name() };
      this.#must("=");
      return { key, value: this.#expression() };
    }
    return { key: undefined, value: this.#expression() };
  }
}
