/** The refusal to store lives with all other errors; the codec throws it before anything is committed. */
export { NotStorableError } from "../errors.ts";
