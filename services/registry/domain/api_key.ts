/**
 * The form of an API key: "mn_", 26 characters of its key id, "_", 43 characters of its secret, "_", and the CRC-32 of
 * all before, so that scanners for leaked secrets recognise one and a mistyped one is refused without a look-up.
 */

export interface ApiKeyParts {
  /** "key-" and 26 characters. */
  readonly keyId: string;
  /** 32 random bytes in base64url. */
  readonly secret: string;
}

const FORM = /^(mn_([0-9a-hjkmnp-tv-z]{26})_([A-Za-z0-9_-]{43}))_([0-9a-f]{8})$/;
const ID_PREFIX = "key-";

export function formatApiKey({ keyId, secret }: ApiKeyParts): string {
  const content = `mn_${keyId.slice(ID_PREFIX.length)}_${secret}`;
  return `${content}_${checksum(content)}`;
}

/** Answers undefined where the text is not an API key. */
export function parseApiKey(text: string): ApiKeyParts | undefined {
  const [, content, id, secret, sum] = FORM.exec(text) ?? [];
  if (content === undefined || id === undefined || secret === undefined || sum !== checksum(content)) return undefined;
  return { keyId: ID_PREFIX + id, secret };
}

/** CRC-32 of ASCII text, as 8 hexadecimal digits. */
function checksum(text: string): string {
  let crc = 0xffffffff;
  for (let i = 0; i < text.length; i++) {
    crc ^= text.charCodeAt(i);
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ((crc ^ 0xffffffff) >>> 0).toString(16).padStart(8, "0");
}
