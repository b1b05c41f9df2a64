/** Parses preview messages: a length, a JSON header, a JPEG. */

import type { PreviewHeader } from "./contract";

export interface Preview {
  header: PreviewHeader;
  jpeg: Blob;
}

/**
 * Parses a binary message: uint32 big-endian length of the header, the header as JSON, then the JPEG.
 * Throws RangeError or SyntaxError if the message is malformed.
 */
export function parsePreview(message: ArrayBuffer): Preview {
  const length = new DataView(message).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 4, length))) as PreviewHeader;
  return { header, jpeg: new Blob([new Uint8Array(message, 4 + length)], { type: "image/jpeg" }) };
}
