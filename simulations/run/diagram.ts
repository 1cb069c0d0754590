/**
 * A picture of a run as one HTML file that needs nothing else: time runs down, a lane for each client, node and service,
 * arrows for messages, bars for leases by partition, dots for commits, shade for faults, red for what was violated.
 * `drawDiagram` gives the text; the page's own script only shows details.
 */
import type { Violation } from "../checkers/violation.ts";
import type { DrawnAt } from "../world/drawing.ts";
import { type Fault, lastsMs, tellFault } from "./fault.ts";
import type { Picture } from "./picture.ts";
import { inPlainWords } from "./rules.ts";

const laneWidth = 170;
const left = 96;
const top = 64;
/** What happens at once is drawn this far apart; stretches in which nothing happens are cut out. */
const rowHeight = 15;
const gapHeight = 26;
const maxRows = 3_000;

type Scale = {
  readonly y: (atMs: number) => number;
  readonly height: number;
  readonly gaps: readonly { readonly y: number; readonly ms: number }[];
};

export function drawDiagram(picture: Picture): string {
  const drawn = picture.drawn.slice(0, maxRows);
  const lanes = picture.lanes.filter(
    (lane) => drawn.some((one) => isIn(one, lane)) || picture.faults.some((fault) => lanesOf(fault).includes(lane)),
  );
  const scale = scaleOf(drawn, picture);
  const x = (lane: string) => left + (lanes.indexOf(lane) + 0.5) * laneWidth;
  const width = left + lanes.length * laneWidth + 340;
  const parts = [
    ...scale.gaps.map(({ y, ms }) => gap(y, ms, left + lanes.length * laneWidth)),
    ...picture.faults.flatMap((fault, index) => shade(fault, index, lanes, x, scale, picture)),
    ...lanes.map((lane) => `<line class="lane" x1="${x(lane)}" x2="${x(lane)}" y1="${top}" y2="${scale.height}"/>`),
    ...downtimes(drawn, lanes, x, scale, picture.endMs),
    ...leaseBars(drawn, lanes, x, scale, picture),
    ...drawn.flatMap((one) => mark(one, lanes, x, scale)),
    ...ticks(drawn, scale),
    ...(picture.healedMs === undefined ? [] : [healed(scale.y(picture.healedMs), left + lanes.length * laneWidth)]),
    ...picture.violations.slice(0, 3).map((violation, index) => violated(violation, index, lanes, x, scale, drawn)),
  ];
  const heads = lanes.map(
    (lane) => `<div class="head" style="left:${x(lane) - laneWidth / 2}px;width:${laneWidth}px">${html(lane)}</div>`,
  );
  return page(
    picture,
    `<div class="heads" style="width:${width}px">${heads.join("")}</div><svg width="${width}" height="${scale.height + 40}">${defs}${parts.join("\n")}</svg>`,
    picture.drawn.length - drawn.length,
  );
}

function isIn(one: DrawnAt, lane: string): boolean {
  return one.kind === "message" ? one.from === lane || one.to === lane : one.node === lane;
}

/** Rows for all moments at which something happens; long silences shrink to a gap that says how long it was. */
function scaleOf(drawn: readonly DrawnAt[], picture: Picture): Scale {
  const times = new Set<number>([0]);
  for (const one of drawn) {
    times.add(one.atMs);
    if (one.kind === "message") times.add(one.sentMs);
  }
  for (const fault of picture.faults) {
    times.add(fault.at);
    const endMs = fault.at + lastsMs(fault);
    if (endMs < picture.endMs) times.add(endMs);
  }
  if (picture.healedMs !== undefined) times.add(picture.healedMs);
  const sorted = [...times].sort((a, b) => a - b);
  const ys: number[] = [];
  const gaps: { y: number; ms: number }[] = [];
  let y = top + 12;
  sorted.forEach((time, index) => {
    const sinceMs = index === 0 ? 0 : time - (sorted[index - 1] as number);
    if (sinceMs > 400) {
      gaps.push({ y: y + gapHeight / 2 + 4, ms: sinceMs });
      y += gapHeight;
    }
    y += Math.min(rowHeight, 2 + Math.sqrt(sinceMs) * 3);
    ys.push(y);
  });
  const at = (atMs: number): number => {
    let low = 0;
    let high = sorted.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((sorted[middle] as number) <= atMs) low = middle;
      else high = middle - 1;
    }
    return ys[low] ?? top;
  };
  return { y: at, height: y + 30, gaps };
}

function mark(one: DrawnAt, lanes: readonly string[], x: (lane: string) => number, scale: Scale): readonly string[] {
  const y = scale.y(one.atMs);
  switch (one.kind) {
    case "message": {
      if (!lanes.includes(one.from) || !lanes.includes(one.to) || one.from === one.to) return [];
      const [x1, x2] = [x(one.from), x(one.to)];
      const y1 = scale.y(one.sentMs);
      const title = `<title>${html(`${one.label}: ${one.from} ${one.sentMs.toFixed(1)} ms → ${one.to} ${one.lost === true ? "lost" : `${one.atMs.toFixed(1)} ms`}`)}</title>`;
      if (one.lost === true) {
        const end = x1 + (x2 - x1) * 0.45;
        return [
          `<g class="lost"><line x1="${x1}" y1="${y1}" x2="${end}" y2="${y1 + 8}"/><text x="${end}" y="${y1 + 12}" text-anchor="middle">✕</text>${title}</g>`,
        ];
      }
      const slope = Math.abs(x2 - x1) / laneWidth;
      const name =
        one.label === "reply" || one.label.startsWith("write ") || slope === 0
          ? ""
          : `<text x="${x1 + (x2 - x1) * 0.28}" y="${y1 + (y - y1) * 0.28 - 2}" text-anchor="middle">${html(short(one.label, 22))}</text>`;
      return [
        `<g class="message${one.label === "reply" ? " reply" : ""}"><line x1="${x1}" y1="${y1}" x2="${x2 - Math.sign(x2 - x1) * 5}" y2="${y}" marker-end="url(#tip)"/>${name}${title}</g>`,
      ];
    }
    case "commit": {
      if (!lanes.includes(one.node)) return [];
      const cx = x(one.node);
      const text = `${one.actor} ${one.text}`;
      return [
        `<g class="commit"><circle cx="${cx}" cy="${y}" r="4"/><text x="${cx + 8}" y="${y + 3}">${html(short(`${one.actor.slice(0, 18)} ${one.text.replace(/ \[token .*/, "")}`, 34))}</text><title>${html(`${one.atMs.toFixed(1)} ms: ${text}`)}</title></g>`,
      ];
    }
    case "process": {
      if (!lanes.includes(one.node)) return [];
      return [
        `<g class="process ${one.state}"><text x="${x(one.node) - 10}" y="${y + 3}" text-anchor="end">${one.state}</text><circle cx="${x(one.node)}" cy="${y}" r="5"/></g>`,
      ];
    }
    case "lease":
      return [];
  }
}

/** A lane of its own width beside the node's line for each partition, coloured by token. */
function leaseBars(
  drawn: readonly DrawnAt[],
  lanes: readonly string[],
  x: (lane: string) => number,
  scale: Scale,
  picture: Picture,
): readonly string[] {
  const bars: string[] = [];
  const open = new Map<string, { node: string; partition: number; token: string; fromMs: number }>();
  const close = (key: string, toMs: number): void => {
    const bar = open.get(key);
    if (bar === undefined) return;
    open.delete(key);
    const bx = x(bar.node) - 24 - bar.partition * 7;
    const [y1, y2] = [scale.y(bar.fromMs), Math.max(scale.y(toMs), scale.y(bar.fromMs) + 4)];
    const hue = (Number(bar.token.split(".").at(-1)) * 67) % 360;
    bars.push(
      `<rect class="lease" x="${bx}" y="${y1}" width="5" height="${y2 - y1}" fill="hsl(${hue} 60% 55%)"><title>${html(`${bar.node} believes in partition ${bar.partition}, token ${bar.token}: ${bar.fromMs.toFixed(0)} to ${toMs.toFixed(0)} ms`)}</title></rect>`,
    );
  };
  for (const one of drawn) {
    if (one.kind === "process" && one.state === "crashes") {
      for (const [key, bar] of [...open]) if (bar.node === one.node) close(key, one.atMs);
    }
    if (one.kind !== "lease" || !lanes.includes(one.node)) continue;
    const key = `${one.node} ${one.partition}`;
    close(key, one.atMs);
    if (one.token !== undefined)
      open.set(key, { node: one.node, partition: one.partition, token: one.token, fromMs: one.atMs });
  }
  for (const key of [...open.keys()]) close(key, picture.endMs);
  return bars;
}

function downtimes(
  drawn: readonly DrawnAt[],
  lanes: readonly string[],
  x: (lane: string) => number,
  scale: Scale,
  endMs: number,
): readonly string[] {
  const since = new Map<string, { atMs: number; state: string }>();
  const out: string[] = [];
  const end = (node: string, toMs: number): void => {
    const down = since.get(node);
    since.delete(node);
    if (down === undefined || !lanes.includes(node)) return;
    const y1 = scale.y(down.atMs);
    out.push(
      `<rect class="down ${down.state}" x="${x(node) - 7}" y="${y1}" width="14" height="${Math.max(3, scale.y(toMs) - y1)}"><title>${html(`${node} ${down.state} from ${down.atMs.toFixed(0)} to ${toMs.toFixed(0)} ms`)}</title></rect>`,
    );
  };
  for (const one of drawn) {
    if (one.kind !== "process") continue;
    if (one.state === "crashes" || one.state === "freezes") {
      end(one.node, one.atMs);
      since.set(one.node, { atMs: one.atMs, state: one.state });
    } else end(one.node, one.atMs);
  }
  for (const node of [...since.keys()]) end(node, endMs);
  return out;
}

function lanesOf({ args }: Fault): readonly string[] {
  const { node, from, to, groups, service, fault } = args as {
    readonly node?: string;
    readonly from?: string;
    readonly to?: string;
    readonly groups?: readonly (readonly string[])[];
    readonly service?: string;
    readonly fault?: string;
  };
  if (node !== undefined) return [node];
  if (from !== undefined && to !== undefined) return [from, to];
  if (groups !== undefined) return groups.flat();
  return service === undefined ? (fault === undefined ? [] : ["store"]) : [service];
}

function shade(
  fault: Fault,
  index: number,
  lanes: readonly string[],
  x: (lane: string) => number,
  scale: Scale,
  picture: Picture,
): readonly string[] {
  const endMs = Math.min(fault.at + lastsMs(fault), picture.healedMs ?? picture.endMs, picture.endMs);
  const y1 = scale.y(fault.at);
  const height = Math.max(6, scale.y(Math.max(endMs, fault.at)) - y1);
  const hue = (index * 47 + 20) % 360;
  const text = tellFault(fault);
  const at = left + lanes.length * laneWidth + 10 + (index % 3) * 6;
  const bars = lanesOf(fault)
    .filter((lane) => lanes.includes(lane))
    .map(
      (lane) =>
        `<rect class="fault" x="${x(lane) - laneWidth / 2 + 3}" y="${y1}" width="${laneWidth - 6}" height="${height}" fill="hsl(${hue} 80% 50% / 0.10)"><title>${html(text)}</title></rect>`,
    );
  return [
    ...bars,
    `<rect x="${at}" y="${y1}" width="4" height="${height}" fill="hsl(${hue} 60% 50%)"/>`,
    `<text class="note" x="${left + lanes.length * laneWidth + 30}" y="${y1 + 9 + (index % 2) * 2}">${html(short(text, 60))}<title>${html(text)}</title></text>`,
  ];
}

function violated(
  violation: Violation,
  index: number,
  lanes: readonly string[],
  x: (lane: string) => number,
  scale: Scale,
  drawn: readonly DrawnAt[],
): string {
  // The last commit of an actor that the violation names, else the end.
  const commits = drawn.filter((one) => one.kind === "commit" && violation.detail.includes(one.actor));
  const last = commits.at(-1);
  const y = last === undefined ? scale.height - 12 - index * 18 : scale.y(last.atMs);
  const cx = last?.kind === "commit" && lanes.includes(last.node) ? x(last.node) : left;
  return (
    `<g class="violation"><line x1="${left - 10}" x2="${left + lanes.length * laneWidth}" y1="${y}" y2="${y}"/>` +
    `<circle cx="${cx}" cy="${y}" r="9"/><text x="${left + lanes.length * laneWidth + 30}" y="${y + 4}">${html(short(`${violation.rule}: ${violation.detail}`, 56))}</text><title>${html(`${violation.rule}: ${violation.detail}`)}</title></g>`
  );
}

function healed(y: number, width: number): string {
  return `<g class="healed"><line x1="${left - 10}" x2="${width}" y1="${y}" y2="${y}"/><text x="${left - 14}" y="${y + 3}" text-anchor="end">all heals</text></g>`;
}

function gap(y: number, ms: number, width: number): string {
  return `<g class="gap"><line x1="${left}" x2="${width}" y1="${y}" y2="${y}"/><text x="${left - 14}" y="${y + 3}" text-anchor="end">${ms >= 10_000 ? `${(ms / 1_000).toFixed(0)} s` : `${ms.toFixed(0)} ms`}</text></g>`;
}

function ticks(drawn: readonly DrawnAt[], scale: Scale): readonly string[] {
  const out: string[] = [];
  let lastY = Number.NEGATIVE_INFINITY;
  for (const { atMs } of drawn) {
    const y = scale.y(atMs);
    if (y - lastY < 60) continue;
    lastY = y;
    out.push(`<text class="tick" x="8" y="${y + 3}">${(atMs / 1_000).toFixed(3)} s</text>`);
  }
  return out;
}

const defs =
  '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto"><path d="M0 0L8 4L0 8z"/></marker></defs>';

function page(picture: Picture, body: string, leftOut: number): string {
  const verdict =
    picture.violations.length === 0
      ? '<p class="holds">every rule holds</p>'
      : picture.violations
          .slice(0, 5)
          .map(
            (violation) =>
              `<p class="broken"><b>${html(violation.rule)}</b>: ${html(inPlainWords(violation))}<br><small>${html(short(violation.detail, 400))}</small></p>`,
          )
          .join("");
  const faults = picture.faults.map((fault) => `<li>${html(tellFault(fault))}</li>`).join("");
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${html(picture.title)}</title><style>
:root{color-scheme:light dark;--ink:#222;--soft:#8a8f98;--line:#c9ced6;--paper:#fff;--message:#3568b8;--bad:#c62828;--good:#2e7d32}
@media(prefers-color-scheme:dark){:root{--ink:#e4e6ea;--soft:#8d93a0;--line:#3b414c;--paper:#15181d;--message:#7aa7ee;--bad:#ff6b6b;--good:#7ccf80}}
body{font:13px/1.45 system-ui,sans-serif;margin:0;color:var(--ink);background:var(--paper)}
header{padding:16px 24px;border-bottom:1px solid var(--line)}h1{font-size:17px;margin:0 0 6px}p{margin:4px 0}
.broken{color:var(--bad)}.holds{color:var(--good)}details{margin-top:6px}ul{margin:4px 0;padding-left:20px;font-family:ui-monospace,monospace;font-size:11px}
.legend{color:var(--soft);font-size:12px}main{position:relative}
.heads{position:sticky;top:0;height:34px;background:var(--paper);border-bottom:1px solid var(--line);z-index:2}
.head{position:absolute;top:8px;text-align:center;font-weight:600}
svg{display:block;margin-top:-34px;font:10px ui-monospace,monospace}
.lane{stroke:var(--line);stroke-width:1.5}.tick,.gap text,.note{fill:var(--soft)}
.gap line{stroke:var(--line);stroke-dasharray:1 4}.message line{stroke:var(--message);stroke-width:1.1}.message.reply line{stroke-dasharray:4 3;opacity:.55}
#tip path{fill:var(--message)}.message text{fill:var(--message);opacity:.9}.message:hover line{stroke-width:3}
.lost line{stroke:var(--bad);stroke-dasharray:2 2}.lost text{fill:var(--bad);font-size:12px}
.commit circle{fill:var(--ink)}.commit text{fill:var(--ink);paint-order:stroke;stroke:var(--paper);stroke-width:3px}
.process circle{fill:var(--soft)}.process text{font-weight:700;fill:var(--ink)}.process.crashes circle{fill:var(--bad)}.process.starts circle{fill:var(--good)}
.down{fill:var(--bad);opacity:.25}.down.freezes{fill:#4a90d9}
.healed line{stroke:var(--good);stroke-width:1.5}.healed text{fill:var(--good);font-weight:700}
.violation line{stroke:var(--bad);stroke-width:1.5;stroke-dasharray:6 3}.violation circle{fill:none;stroke:var(--bad);stroke-width:2.5}.violation text{fill:var(--bad);font-weight:700}
</style></head><body><header><h1>${html(picture.title)}</h1>${verdict}
<p class="legend">Time runs down; silences are cut out and say how long they were. Bars beside a node: partitions it believes to own, coloured by token. Dots: commits. Shade: faults. Dashed: replies. Hover for details.${leftOut > 0 ? ` The last ${leftOut} things are not drawn.` : ""}</p>
<details><summary>${picture.faults.length} faults</summary><ul>${faults}</ul></details></header>
<main>${body}</main></body></html>
`;
}

function short(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`;
}

function html(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
