export type Closing = (() => Promise<void>)[];

/**
 * Opens one thing after another, each with how to close it pushed to `closing`. `close` closes them in reverse, once; so
 * does a failure on the way, and nothing is left open.
 */
export async function openInSteps<TOpen>(
  open: (closing: Closing, close: () => Promise<void>) => Promise<TOpen>,
): Promise<TOpen> {
  const closing: Closing = [];
  const close = async () => {
    for (const step of closing.splice(0).reverse()) await step();
  };
  try {
    return await open(closing, close);
  } catch (error) {
    await close();
    throw error;
  }
}
