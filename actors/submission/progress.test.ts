/** The progress line: one bar that is redrawn on a terminal, plain lines now and then elsewhere. */
import { expect, test } from "vitest";
import { createProgress } from "./progress.ts";

function draw(isTTY: boolean, plain: boolean): string {
  let text = "";
  const progress = createProgress({ isTTY, write: (part: string) => (text += part) }, 40, { plain });
  progress.update(1, 3);
  progress.update(20, 3);
  progress.say("killed");
  progress.update(2, 8);
  progress.update(40, 0);
  progress.update(40, 0);
  progress.end();
  progress.end();
  return text;
}

test("a terminal has one bar, below what is said, and it never goes back", () => {
  const half = `${"█".repeat(15)}${"·".repeat(15)}`;
  const full = "█".repeat(30);
  const drawn = draw(true, false).replaceAll("\r\u001b[K", "<");
  expect(drawn).toBe(
    [
      `<[█${"·".repeat(29)}]  1/40 judged, 3 in flight<[${half}] 20/40 judged, 3 in flight<killed`,
      `<[${half}] 20/40 judged, 3 in flight<[${half}] 20/40 judged, 8 in flight` +
        `<[${full}] 40/40 judged, 0 in flight<[${full}] 40/40 judged, 0 in flight`,
      "",
    ].join("\n"),
  );
});

test("elsewhere there is a line per twenty, and no control characters", () => {
  const plain = "20/40 judged, 3 in flight\nkilled\n40/40 judged, 0 in flight\n";
  expect(draw(false, false)).toBe(plain);
  expect(draw(true, true)).toBe(plain);
});
