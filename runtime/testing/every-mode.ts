/**
 * The modes in which a machine is put through `createActorWith`, for tests that run one story in each of them.
 * `stores` says whether the mode refuses what cannot be stored; the default mode accepts it, as XState does.
 */
export const everyMode = [
  { mode: "by default", stores: false, modes: {} },
  { mode: "with the strict codec", stores: true, modes: { strict: true } },
  { mode: "rebuilt from JSON before each event", stores: true, modes: { strict: true, rebuild: true } },
  { mode: "crashed before each event and timer", stores: true, modes: { strict: true, crash: true } },
  { mode: "with each event delivered twice", stores: true, modes: { strict: true, duplicate: true } },
] as const;
