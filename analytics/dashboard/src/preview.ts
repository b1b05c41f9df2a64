/** Preview messages: a length, a JSON header, a JPEG. */

import type { PreviewHeader } from "./contract";

export interface Preview {
  header: PreviewHeader;
  jpeg: Blob;
}

/**
 * Takes a binary message apart: uint32 big-endian length of the header, the header as JSON, then the JPEG.
 * Throws RangeError or SyntaxError where it is not that.
 */
export function parsePreview(message: ArrayBuffer): Preview {
  const length = new DataView(message).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(message, 4, length))) as PreviewHeader;
  return { header, jpeg: new Blob([new Uint8Array(message, 4 + length)], { type: "image/jpeg" }) };
}
