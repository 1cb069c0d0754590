/** Every bound of the bus and its default. What is beyond one is answered so at once; nothing waits without a bound. */
import { refuseUnknown } from "../../options.ts";
import { BusInvalidOption } from "./errors.ts";

export type NatsBusLimits = {
  /** Requests that this process handles at a time, from here and elsewhere; beyond it callers get Overloaded. */
  readonly handling: number;
  /** Their bodies together. */
  readonly handlingBytes: number;
  /** Own requests that wait for an answer; beyond it they get Overloaded. */
  readonly waiting: number;
  /** Topics listened to; beyond it `subscribe` throws BusTooManyTopics. */
  readonly topics: number;
  /** How long `close` waits for what is being handled. */
  readonly closeMs: number;
};

const defaultBusLimits: NatsBusLimits = {
  handling: 10_000,
  handlingBytes: 64 * 1024 * 1024,
  waiting: 20_000,
  topics: 10_000,
  closeMs: 5_000,
};

/** Throws BusInvalidOption naming the first that is not usable. */
export function busLimits(given: Partial<NatsBusLimits> = {}): NatsBusLimits {
  refuseUnknown("limits of the bus", given, defaultBusLimits, BusInvalidOption);
  const limits = { ...defaultBusLimits, ...given };
  for (const [name, value] of Object.entries(limits)) {
    if (!Number.isSafeInteger(value) || value < 1)
      throw new BusInvalidOption(`the limit \`${name}\` is ${value}; it must be a whole number of at least 1`);
  }
  return limits;
}
