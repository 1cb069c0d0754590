/**
 * One line that shows how far the contest is: redrawn on a terminal, now and then a plain line elsewhere. Owns the
 * cursor's line only while a bar stands on it.
 */
export type Progress = {
  update(done: number, inFlight: number): void;
  /** A line of its own, above the bar. */
  say(text: string): void;
  /** Leaves the last bar standing; nothing may be drawn after it. */
  end(): void;
};

type Output = { readonly isTTY?: boolean; write(text: string): unknown };

const barWidth = 30;
const plainEvery = 20;

export function createProgress(output: Output, total: number, options: { readonly plain: boolean }): Progress {
  const redraws = output.isTTY === true && !options.plain;
  let line = "";
  let shown = -1;
  let done = 0;

  function draw(): void {
    if (redraws && line !== "") output.write(`\r\u001b[K${line}`);
  }
  return {
    update(now, inFlight) {
      // A host that was started again counts anew; what is done stays done.
      done = Math.max(done, now);
      const count = `${String(done).padStart(String(total).length)}/${total} judged`;
      if (redraws) {
        const filled = Math.round((done / total) * barWidth);
        line = `[${"█".repeat(filled)}${"·".repeat(barWidth - filled)}] ${count}, ${inFlight} in flight`;
        draw();
      } else if (
        done === total ? shown !== done : Math.floor(done / plainEvery) > Math.floor(Math.max(shown, 0) / plainEvery)
      ) {
        output.write(`${count}, ${inFlight} in flight\n`);
        shown = done;
      }
    },
    say(text) {
      output.write(redraws && line !== "" ? `\r\u001b[K${text}\n` : `${text}\n`);
      draw();
    },
    end() {
      if (redraws && line !== "") output.write("\n");
      line = "";
    },
  };
}
