// As much of DER as certificates and time-stamps take.
// @see https://letsencrypt.org/docs/a-warm-welcome-to-asn1-and-der/

type Content = Uint8Array | string;

function tagged(tag: number, content: readonly Content[]): Buffer {
  const body = Buffer.concat(content.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : part)));
  const length =
    body.length < 0x80
      ? [body.length]
      : body.length < 0x100
        ? [0x81, body.length]
        : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...length]), body]);
}

export const sequence = (...content: Content[]): Buffer => tagged(0x30, content);
export const set = (...content: Content[]): Buffer => tagged(0x31, content);
export const octets = (content: Content): Buffer => tagged(0x04, [content]);
export const utf8 = (text: string): Buffer => tagged(0x0c, [text]);
export const yes = (): Buffer => tagged(0x01, [Buffer.from([0xff])]);
/** Up to 127. */
export const integer = (value: number): Buffer => tagged(0x02, [Buffer.from([value])]);
export const bits = (content: Uint8Array, unused = 0): Buffer => tagged(0x03, [Buffer.from([unused]), content]);
/** `[number]`, constructed. */
export const explicit = (number: number, ...content: Content[]): Buffer => tagged(0xa0 + number, content);
/** `[number]`, primitive. */
export const implicit = (number: number, content: Content): Buffer => tagged(0x80 + number, [content]);
export const generalizedTime = (time: Date): Buffer => tagged(0x18, [`${digits(time)}Z`]);
export const utcTime = (time: Date): Buffer => tagged(0x17, [`${digits(time).slice(2)}Z`]);

export function oid(dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  return tagged(0x06, [Buffer.from([first * 40 + second, ...rest.flatMap(base128)])]);
}

function base128(value: number): number[] {
  const low = [value & 0x7f];
  for (let left = value >> 7; left > 0; left >>= 7) low.unshift((left & 0x7f) | 0x80);
  return low;
}

function digits(time: Date): string {
  return time
    .toISOString()
    .replace(/\.\d+Z$/, '')
    .replaceAll(/[-:T]/g, '');
}
