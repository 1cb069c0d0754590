/** Bounds of one conversation between a host and the command line. */

/** An event may be as large as a document, and its JSON text somewhat larger. */
export const maxRequestBytes = 4 * 1024 * 1024;
/** Room for 64 kept revisions of a document of one MiB. */
export const maxAnswerBytes = 128 * 1024 * 1024;
export const maxConnections = 64;
/** How long a connection may take for one request, and for reading one answer, in milliseconds. */
export const lineMs = 30_000;
