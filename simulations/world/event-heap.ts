/** The world's future: a binary heap by (time, sequence), so that events of one instant happen as they were planned. */

export type WorldEvent = {
  readonly atUs: number;
  readonly sequence: number;
  readonly label: string;
  /** Background events (lease renewals, keep-alives) do not count as something left to happen. */
  readonly background: boolean;
  readonly run: () => void;
  cancelled: boolean;
};

export class EventHeap {
  readonly #events: WorldEvent[] = [];
  #foreground = 0;

  get foreground(): number {
    return this.#foreground;
  }

  push(event: WorldEvent): void {
    const events = this.#events;
    if (!event.background) this.#foreground++;
    let index = events.length;
    events.push(event);
    while (index > 0) {
      const parent = (index - 1) >> 1;
      const above = events[parent] as WorldEvent;
      if (!isBefore(event, above)) break;
      events[index] = above;
      index = parent;
    }
    events[index] = event;
  }

  /** The next event that was not cancelled. */
  peek(): WorldEvent | undefined {
    while (this.#events[0]?.cancelled === true) this.#removeFirst();
    return this.#events[0];
  }

  pop(): WorldEvent | undefined {
    const event = this.peek();
    if (event === undefined) return undefined;
    this.#removeFirst();
    this.cancel(event); // so that cancelling it after it has happened changes nothing
    return event;
  }

  /** Leaves the event where it is and forgets it when its turn comes: removing from the middle would cost a search. */
  cancel(event: WorldEvent): void {
    if (event.cancelled) return;
    event.cancelled = true;
    if (!event.background) this.#foreground--;
  }

  #removeFirst(): void {
    const events = this.#events;
    const last = events.pop();
    if (last === undefined || events.length === 0) return;
    let index = 0;
    for (;;) {
      const left = 2 * index + 1;
      if (left >= events.length) break;
      const right = left + 1;
      const child = right < events.length && isBefore(events[right]!, events[left]!) ? right : left;
      if (!isBefore(events[child]!, last)) break;
      events[index] = events[child]!;
      index = child;
    }
    events[index] = last;
  }
}

function isBefore(a: WorldEvent, b: WorldEvent): boolean {
  return a.atUs < b.atUs || (a.atUs === b.atUs && a.sequence < b.sequence);
}
