/**
 * What a workload that drives the clients itself gets in hand: production handles that note what was refused for good, since
 * code that catches the refusal would else test nothing and say nothing.
 */
import type { AnyActorLogic } from "xstate";
import type { ActorHandle, SendResult } from "../../runtime/client.ts";
import type { Client } from "../../runtime/connect.ts";

/** A request that failed, and how. */
export type Refusal = { readonly what: string; readonly code: string; readonly message: string };

export function watchedClient(client: Client, note: (refusal: Refusal) => void): Client {
  return {
    actor: (type, id) => watched(client.actor(type, id) as ActorHandle<AnyActorLogic>, note) as never,
    list: (type, options) => client.list(type, options),
    parked: () => client.parked(),
    close: () => client.close(),
  };
}

function watched(handle: ActorHandle<AnyActorLogic>, note: (refusal: Refusal) => void): ActorHandle<AnyActorLogic> {
  const watch = <TArgs extends unknown[]>(
    name: "create" | "createAndSend" | "send" | "delete",
    ask: (...args: TArgs) => Promise<SendResult>,
    typeOf: (...args: TArgs) => unknown,
  ) => {
    const value = async (...args: TArgs): Promise<SendResult> => {
      try {
        return await ask.apply(handle, args);
      } catch (error) {
        const { code = "", message } = error as { readonly code?: string; readonly message: string };
        note({ what: `${String(typeOf(...args))} for ${handle.type}/${handle.id}`, code, message });
        throw error;
      }
    };
    Object.defineProperty(handle, name, { value });
  };
  watch("create", handle.create, () => "create");
  watch("delete", handle.delete, () => "delete");
  watch("send", handle.send, (event: unknown) => typeIn(event));
  watch("createAndSend", handle.createAndSend, (_input: unknown, event: unknown) => typeIn(event));
  return handle;
}

function typeIn(event: unknown): unknown {
  return (event as { readonly type?: unknown } | null | undefined)?.type ?? "an event";
}
