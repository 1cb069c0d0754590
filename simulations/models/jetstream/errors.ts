/** The server's errors, word for word: what an adapter decides on is the number, what a person reads is the rest. */

export type ApiError = { readonly code: number; readonly err_code: number; readonly description: string };

const error = (code: number, err_code: number, description: string): ApiError => ({ code, err_code, description });

export const apiErrors = {
  badRequest: error(400, 10003, "bad request"),
  insufficientResources: error(503, 10023, "insufficient resources"),
  storageResources: error(500, 10047, "insufficient storage resources available"),
  wrongLastSequence: (last: number) => error(400, 10071, `wrong last sequence: ${last}`),
  wrongLastSequenceInFlight: error(400, 10164, "wrong last sequence"),
  wrongLastMessageId: (last: string) => error(400, 10070, `wrong last msg ID: ${last}`),
  streamMismatch: error(400, 10060, "expected stream does not match"),
  messageNotFound: error(404, 10037, "no message found"),
  streamNotFound: error(404, 10059, "stream not found"),
  streamExists: error(400, 10058, "stream name already in use with a different configuration"),
  streamOverlap: error(400, 10065, "subjects overlap with an existing stream"),
  replicasNotSupported: error(500, 10074, "replicas > 1 not supported in non-clustered mode"),
  messageTooLarge: error(400, 10054, "message size exceeds maximum allowed"),
  headerTooLarge: error(400, 10097, "header size exceeds maximum allowed of 64k"),
  rollupFailed: (reason: string) => error(500, 10111, reason),
  deleteFailed: (reason: string) => error(500, 10057, reason),
  purgeFailed: (reason: string) => error(500, 10110, reason),
  consumerNotFound: error(404, 10014, "consumer not found"),
  consumerUpdate: (what: string) => error(500, 10012, `${what} can not be updated`),
  consumerConfigRequired: error(400, 10078, "consumer config required"),
  filtersOverlap: error(400, 10138, "consumer subject filters cannot overlap"),
  maxConsumers: error(400, 10026, "maximum consumers limit reached"),
  duplicateInFlight: error(409, 10158, "duplicate message id is in process"),
  ttlDisabled: error(400, 10166, "per-message TTL is disabled"),
  ttlInvalid: error(400, 10165, "invalid per-message TTL"),
  batchDisabled: error(400, 10174, "atomic publish is disabled"),
  batchSequenceMissing: error(400, 10175, "atomic publish sequence is missing"),
  batchIncomplete: error(400, 10176, "atomic publish batch is incomplete"),
  batchIdInvalid: error(400, 10179, "atomic publish batch ID is invalid"),
  batchTooLarge: (most: number) => error(400, 10199, `atomic publish batch is too large: ${most}`),
  batchDuplicate: error(400, 10201, "atomic publish batch contains duplicate message id"),
} as const;
