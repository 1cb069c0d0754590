import assert from "node:assert/strict";
import { test } from "vitest";
import { createWorld } from "./world.ts";

function open(seed = 1) {
  const world = createWorld({ seed });
  const heard: string[] = [];
  for (const [index, name] of ["n1", "n2"].entries()) {
    world.node(name).boot(({ peers }) => {
      peers(index + 1).receive((from, frame) => heard.push(`${name} from ${from}: ${frame.join(" ")}`));
    });
  }
  const sender = world.node("n3");
  sender.boot(() => {});
  const self = sender.ports.peers(3);
  return { world, heard, send: (to: number, ...frame: number[]) => self.send(to, new Uint8Array(frame)) };
}

test("frames arrive, once, and are the sender's no more", async () => {
  const { world, heard } = open();
  const frame = new Uint8Array([1, 2]);
  world.node("n3").ports.peers(4).send(1, frame);
  frame[0] = 9;
  await world.run({ forMs: 100 });
  assert.deepEqual(heard, ["n1 from 4: 1 2"]);
});

test("frames are lost on a cut link, repeated on a bad one, and not heard by the dead", async () => {
  const { world, heard, send } = open();
  const heal = world.links.cut("n3", "n1");
  send(1, 1);
  heal();
  world.links.setQuality("n3", "n2", { duplicate: 1 });
  send(2, 2);
  await world.run({ forMs: 100 });
  assert.deepEqual(heard, ["n2 from 3: 2", "n2 from 3: 2"]);
  send(1, 3);
  world.node("n1").crash();
  await world.run({ forMs: 100 });
  assert.equal(heard.length, 2);
});

test("a queue that is full drops and counts", async () => {
  const world = createWorld({ seed: 1, peers: { queueLength: 3 } });
  world.node("n1").boot(({ peers }) => void peers(1));
  const self = world.node("n2").ports.peers(2);
  for (let frame = 0; frame < 5; frame++) self.send(1, new Uint8Array([frame]));
  assert.equal(world.peers.dropped, 2);
});
