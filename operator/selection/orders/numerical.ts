// By number. Decimals are compared as text, digit by digit, so that no length loses precision.

import { refusal } from '../rejection.ts';
import type { Direction, TagOrder } from './order.ts';

/** A decimal: sign, digits before the point without leading zeros, digits after it without trailing zeros. */
export interface Decimal {
  readonly isNegative: boolean;
  readonly whole: string;
  readonly fraction: string;
}

// One choice at each character, so it cannot backtrack far. `.5` and `5.` are numbers; `1e5` and `1_000` are not.
const DECIMAL = /^([+-]?)0*([0-9]*)(?:\.([0-9]*))?$/;

const ZERO = 48;

export function parseDecimal(text: string): Decimal | undefined {
  if (isPlainInteger(text)) return { isNegative: false, whole: text, fraction: '' };
  const found = DECIMAL.exec(text);
  if (!found || !/[0-9]/.test(text)) return undefined;
  const [, sign, whole = '', decimals = ''] = found;
  const fraction = decimals.replace(/0+$/, '');
  return { isNegative: sign === '-' && whole + fraction !== '', whole, fraction };
}

/** What nearly every number is, a run of digits without a leading zero, told without an expression. */
function isPlainInteger(text: string): boolean {
  const { length } = text;
  if (length === 0 || text.charCodeAt(0) === ZERO) return false;
  for (let at = 0; at < length; at += 1) {
    const digit = text.charCodeAt(at) - ZERO;
    if (digit < 0 || digit > 9) return false;
  }
  return true;
}

export function compareDecimals(a: Decimal, b: Decimal): number {
  if (a.isNegative !== b.isNegative) return a.isNegative ? -1 : 1;
  return a.isNegative ? compareMagnitudes(b, a) : compareMagnitudes(a, b);
}

function compareMagnitudes(a: Decimal, b: Decimal): number {
  if (a.whole.length !== b.whole.length) return a.whole.length - b.whole.length;
  if (a.whole !== b.whole) return a.whole < b.whole ? -1 : 1;
  if (a.fraction === b.fraction) return 0;
  return a.fraction < b.fraction ? -1 : 1;
}

export function numericalOrder(direction: Direction): TagOrder<Decimal> {
  const reader = {
    read: (value: string) => parseDecimal(value) ?? refusal('NotNumeric'),
    readCurrent: parseDecimal,
  };
  return {
    startReading: () => reader,
    compare: direction === 'Ascending' ? compareDecimals : (a, b) => compareDecimals(b, a),
    provesSpelling: true,
    wanted: 'a decimal number',
  };
}
